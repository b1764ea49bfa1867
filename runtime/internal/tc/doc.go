// Package tc attaches programs to network interfaces by the classic traffic control of the
// kernel, which all kernels have that are supported: TCX came with 6.6.
//
// # Model
//
// An interface has at most one qdisc of kind clsact, which queues nothing and has two lists
// of filters: ingress and egress. A program is a filter of kind bpf with direct-action, which
// makes what the program returns the verdict. A filter has a location ([Location]): its list, a
// priority, by which the list is ordered, the lowest first, and a handle, which distinguishes
// filters of one priority. Of these the one that was added last runs first.
//
// [Attach] makes the qdisc unless there is one, then the filter at its location. Nothing in the
// kernel says whose a filter is and whether its maker is alive, as a link would: a filter
// outlives its process. So each has two marks. Its name says who may replace it. And for as
// long as the filter has an owner in a process, that process has a listening Unix socket with
// an abstract address that is made of the location; these addresses belong to the network
// namespace, as interfaces do, and are gone with the process. A filter that is found at a
// location is
//
//   - replaced, without a packet that sees neither program, when it has the name that is to
//     be attached and no process has the socket: its maker has ended without removing it;
//   - left alone otherwise, and the error names it.
//
// The socket of a process without the rights of this one (another user, who is not root) does
// not count, as every user of the machine can have one. Such a user can still keep a program
// from being attached, with a socket whose queue is full: its owner is not known then, and so
// it counts.
//
// [Filter.Close] removes the filter if it is still the one that was made: same name, same
// program. The qdisc is removed with the last filter on both lists if a filter of this
// process has made it. The kernel cannot do the two in one step: a filter that another process
// adds in the instant between them is removed with the qdisc.
//
// A filter that is to outlive its process, so that the next one replaces it without a gap
// ([Keep]), has no socket: its name alone says whose it is, and [RemoveAll] finds it by that.
// Nothing records who has made the qdisc then, and it stays.
//
// A filter's sockets keep the network namespace of the interface, from which it can be
// changed by any thread.
//
// # Protocol
//
// Messages of rtnetlink (linux/rtnetlink.h, linux/pkt_sched.h, linux/pkt_cls.h; the kernel's
// net/sched), one request at a time: RTM_NEWQDISC, RTM_DELQDISC, RTM_NEWTFILTER,
// RTM_DELTFILTER, and dumps by RTM_GETQDISC and RTM_GETTFILTER. Errors have the sentence that
// the kernel adds to them (NETLINK_EXT_ACK).
package tc
