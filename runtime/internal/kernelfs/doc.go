// Package kernelfs opens files of the kernel's own file systems, whether or not
// they are mounted.
//
// Of each of these file systems, an [FS], the kernel has one, and what it says is the same
// wherever it is mounted. So a file is looked for where the file system usually is, then at
// the places that the mount namespace says, as containers have others, and when it is nowhere,
// in a mount that this process makes for itself: one without a place, which nobody else sees
// and which goes with the process. That takes CAP_SYS_ADMIN, and Linux 5.2.
//
// Nothing is remembered but that mount: an administrator may mount, unmount and allow while
// the process runs. An [Error] says that the file system could not be read, and what to do,
// which is another thing than a file that is not in it: callers tell the two apart, as the
// second means that the kernel does not have what was asked for.
//
// Of a bpffs there may be many, each with pins of its own: [IsBPFFS] tells whether a path is in
// one.
package kernelfs
