// Package token gets a BPF token, with which a process in a user namespace of its own,
// such as a container's, loads what it otherwise may not.
//
// A token is a descriptor for what the mount of a bpffs delegates: commands of
// bpf(2), types of maps and of programs, and kinds of attaching (the mount options
// delegate_cmds, delegate_maps, delegate_progs, delegate_attachs). The mount belongs to the
// user namespace in which its fsopen(2) was called, and only a process with CAP_SYS_ADMIN in
// the initial one may set these options. A process with CAP_BPF in that user namespace then
// turns the mount into tokens (BPF_TOKEN_CREATE, Linux 6.9), and the kernel looks for the
// capabilities of each call in the user namespace of the token that comes with it. In the
// initial user namespace there are no tokens, and none is needed.
package token
