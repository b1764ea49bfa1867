// Package kernelfs opens files of the kernel's own file systems, whether or not
// they are mounted.
//
// The kernel has one of each of these file systems, an [FS], and what it says is the same
// wherever it is mounted. So a file is looked for where the file system usually is, then at all
// mount points of the mount namespace, as containers have others, and when it is not mounted,
// in a detached mount of this process, which no other process sees and which ends with it. That
// takes CAP_SYS_ADMIN, and Linux 5.2.
//
// Nothing is remembered but that mount: an administrator may mount, unmount and allow while
// the process runs. An [Error] means that the file system could not be read, and says what to do. A
// file that is missing in it is another error: the kernel does not have what was asked for.
//
// Of a bpffs there may be many, each with pins of its own: [IsBPFFS] reports whether a path is in
// one.
package kernelfs
