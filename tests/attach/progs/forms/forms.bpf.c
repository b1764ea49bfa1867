// SPDX-License-Identifier: Apache-2.0

// One program for each form of section name. All are optional, so that a test
// loads just the one that it looks at.

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>

__u64 hits;

// What the USDT of the victim was given.
__s64 usdt_args[5];
__s32 usdt_count;
__s64 usdt_cookie;

static int hit(void)
{
	// Relaxed, so that it is the instruction that every kernel has: those that
	// return the old value came with 5.12.
	__atomic_fetch_add(&hits, 1, __ATOMIC_RELAXED);
	return 0;
}

#define FORM(section, name) \
	SEC("?" section) \
	int name(void *ctx) { return hit(); }

// TCX_NEXT and its like, which older headers lack.
#define NEXT -1

// A verdict that lets pass what it sees.
#define PASS(section, name, verdict) \
	SEC("?" section) \
	int name(void *ctx) { hit(); return verdict; }

// Functions of the kernel: getsid calls security_task_getsid.
FORM("kprobe/security_task_getsid", kprobe)
FORM("kprobe/security_task_getsid+0x0", kprobe_offset)
FORM("kretprobe/security_task_getsid", kretprobe)
FORM("kprobe.multi/security_task_get?id", kprobe_multi)
FORM("kretprobe.multi/security_task_gets*", kretprobe_multi)
FORM("kprobe.session/security_task_getsid", kprobe_session)
FORM("ksyscall/getsid", ksyscall)
FORM("kretsyscall/getsid", kretsyscall)

FORM("fentry/security_task_getsid", fentry)
FORM("fexit/security_task_getsid", fexit)
FORM("fmod_ret/security_task_getsid", fmod_ret)
// Sleepable ones are for functions that say so: this one is for tests, and runs
// when a tracing program is run by hand.
FORM("fentry.s/bpf_fentry_test1", fentry_s)
FORM("fexit.s/bpf_fentry_test1", fexit_s)
FORM("fmod_ret.s/bpf_fentry_test1", fmod_ret_s)
FORM("fsession/security_task_getsid", fsession)
FORM("fsession.s/bpf_fentry_test1", fsession_s)

FORM("fentry.multi/security_task_get?id", fentry_multi)
FORM("fentry.multi.s/bpf_fentry_test*", fentry_multi_s)
FORM("fexit.multi/security_task_get?id", fexit_multi)
FORM("fexit.multi.s/bpf_fentry_test*", fexit_multi_s)
FORM("fsession.multi/security_task_get?id", fsession_multi)
FORM("fsession.multi.s/bpf_fentry_test*", fsession_multi_s)

FORM("lsm/task_getsid", lsm)
FORM("lsm.s/file_open", lsm_s)

// Tracepoints.
FORM("tp/task/task_rename", tp)
FORM("tracepoint/syscalls/sys_enter_getsid", tracepoint)
FORM("tp.s/syscalls/sys_enter_getsid", tp_s)
FORM("tracepoint.s/syscalls/sys_enter_getsid", tracepoint_s)
FORM("raw_tp/task_rename", raw_tp)
FORM("raw_tracepoint/task_rename", raw_tracepoint)
FORM("raw_tp.s/sys_enter", raw_tp_s)
FORM("raw_tracepoint.s/sys_enter", raw_tracepoint_s)
FORM("tp_btf/task_rename", tp_btf)
FORM("tp_btf.s/sys_enter", tp_btf_s)

// The only writable tracepoints that all kernels have are for tests: BPF
// programs that are run by hand pass one.
FORM("raw_tp.w/bpf_test_finish", raw_tp_w)
FORM("raw_tracepoint.w/bpf_test_finish", raw_tracepoint_w)

// Functions of user space, in the program that the test writes.
FORM("uprobe/" VICTIM ":traced_one", uprobe)
FORM("uprobe/" VICTIM ":traced_one+0x4", uprobe_offset)
FORM("uprobe/lib" VICTIM ".so:traced_one", uprobe_library)
FORM("uprobe.s/" VICTIM ":traced_one", uprobe_s)
FORM("uretprobe/" VICTIM ":traced_one", uretprobe)
FORM("uretprobe.s/" VICTIM ":traced_one", uretprobe_s)
FORM("uprobe.multi/" VICTIM ":traced_*", uprobe_multi)
FORM("uprobe.multi.s/" VICTIM ":traced_*", uprobe_multi_s)
FORM("uretprobe.multi/" VICTIM ":traced_?ne", uretprobe_multi)
FORM("uretprobe.multi.s/" VICTIM ":traced_?ne", uretprobe_multi_s)
FORM("uprobe.session/" VICTIM ":traced_*", uprobe_session)
FORM("uprobe.session.s/" VICTIM ":traced_*", uprobe_session_s)

SEC("?usdt/" VICTIM ":victim:plain")
int usdt(struct pt_regs *ctx)
{
	long value;
	int i;

	usdt_count = bpf_usdt_arg_cnt(ctx);
	usdt_cookie = bpf_usdt_cookie(ctx);
	for (i = 0; i < 5; i++) {
		if (bpf_usdt_arg(ctx, i, &value))
			return 0;
		usdt_args[i] = value;
	}
	return hit();
}

FORM("usdt/" VICTIM ":victim:guarded", usdt_semaphore)
FORM("usdt.s/" VICTIM ":victim:plain", usdt_s)

// Another BPF program.
SEC("?freplace/replaceable")
int freplace(struct xdp_md *ctx)
{
	hit();
	return XDP_PASS;
}

FORM("fentry/replaceable", fentry_prog)
FORM("fsession/replaceable", fsession_prog)

__noinline int replaceable(struct xdp_md *ctx)
{
	volatile int verdict = XDP_PASS;

	return verdict + (ctx->data != ctx->data_end) - 1;
}

SEC("?xdp")
int replaced(struct xdp_md *ctx) { return replaceable(ctx); }

// Iterators.
FORM("iter/task", iter)
FORM("iter.s/task", iter_s)
FORM("iter/bpf_map_elem", iter_map)
FORM("iter/cgroup", iter_cgroup)

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u64);
} three SEC(".maps");

// What needs a target that no section names.
PASS("xdp", xdp, XDP_PASS)
PASS("xdp.frags", xdp_frags, XDP_PASS)
PASS("tc", tc, NEXT)
PASS("classifier", classifier, NEXT)
PASS("tc/ingress", tc_ingress, NEXT)
PASS("tc/egress", tc_egress, NEXT)
PASS("tcx/ingress", tcx_ingress, NEXT)
PASS("tcx/egress", tcx_egress, NEXT)
PASS("netkit/primary", netkit_primary, NEXT)
PASS("netkit/peer", netkit_peer, NEXT)
PASS("action", action, 0)
PASS("xdp/devmap", xdp_devmap, XDP_PASS)
PASS("xdp.frags/devmap", xdp_frags_devmap, XDP_PASS)
PASS("xdp/cpumap", xdp_cpumap, XDP_PASS)
PASS("xdp.frags/cpumap", xdp_frags_cpumap, XDP_PASS)
PASS("socket", socket, 0xffff)
PASS("sk_reuseport", sk_reuseport, SK_PASS)
PASS("sk_reuseport/migrate", sk_reuseport_migrate, SK_PASS)
PASS("sk_lookup", sk_lookup, SK_PASS)
PASS("flow_dissector", flow_dissector, BPF_OK)
// All of what there is, is one message.
SEC("?sk_skb/stream_parser")
int sk_skb_parser(struct __sk_buff *skb)
{
	hit();
	return skb->len;
}

PASS("sk_skb/stream_verdict", sk_skb_stream_verdict, SK_PASS)
PASS("sk_skb/stream_verdict", sk_skb_drop, SK_DROP)
PASS("sk_skb/verdict", sk_skb_verdict, SK_PASS)
PASS("sk_skb", sk_skb, SK_PASS)
PASS("sk_msg", sk_msg, SK_PASS)
PASS("sockops", sockops, 1)
PASS("netfilter", netfilter, 1)
PASS("perf_event", perf_event, 0)
PASS("lwt_in", lwt_in, BPF_OK)
PASS("lwt_out", lwt_out, BPF_OK)
PASS("lwt_xmit", lwt_xmit, BPF_OK)
PASS("lwt_seg6local", lwt_seg6local, BPF_OK)
PASS("lirc_mode2", lirc_mode2, 0)
PASS("syscall", syscall_prog, 0)
PASS("cgroup_skb/ingress", cgroup_skb_ingress, 1)
PASS("cgroup_skb/egress", cgroup_skb_egress, 1)
PASS("cgroup/skb", cgroup_skb, 1)
PASS("cgroup/sock", cgroup_sock, 1)
PASS("cgroup/sock_create", cgroup_sock_create, 1)
PASS("cgroup/sock_release", cgroup_sock_release, 1)
PASS("cgroup/post_bind4", cgroup_post_bind4, 1)
PASS("cgroup/post_bind6", cgroup_post_bind6, 1)
PASS("cgroup/bind4", cgroup_bind4, 1)
PASS("cgroup/bind6", cgroup_bind6, 1)
PASS("cgroup/connect4", cgroup_connect4, 1)
PASS("cgroup/connect6", cgroup_connect6, 1)
PASS("cgroup/connect_unix", cgroup_connect_unix, 1)
PASS("cgroup/sendmsg4", cgroup_sendmsg4, 1)
PASS("cgroup/sendmsg6", cgroup_sendmsg6, 1)
PASS("cgroup/sendmsg_unix", cgroup_sendmsg_unix, 1)
PASS("cgroup/recvmsg4", cgroup_recvmsg4, 1)
PASS("cgroup/recvmsg6", cgroup_recvmsg6, 1)
PASS("cgroup/recvmsg_unix", cgroup_recvmsg_unix, 1)
PASS("cgroup/getpeername4", cgroup_getpeername4, 1)
PASS("cgroup/getpeername6", cgroup_getpeername6, 1)
PASS("cgroup/getpeername_unix", cgroup_getpeername_unix, 1)
PASS("cgroup/getsockname4", cgroup_getsockname4, 1)
PASS("cgroup/getsockname6", cgroup_getsockname6, 1)
PASS("cgroup/getsockname_unix", cgroup_getsockname_unix, 1)
PASS("cgroup/sysctl", cgroup_sysctl, 1)
PASS("cgroup/getsockopt", cgroup_getsockopt, 1)
PASS("cgroup/setsockopt", cgroup_setsockopt, 1)
PASS("cgroup/dev", cgroup_dev, 1)
PASS("lsm_cgroup/socket_bind", lsm_cgroup, 1)

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} sockets SEC(".maps");

// Names without a target, which are left alone.
FORM("kprobe", bare_kprobe)
FORM("kretprobe", bare_kretprobe)
FORM("kprobe.multi", bare_kprobe_multi)
FORM("ksyscall", bare_ksyscall)
FORM("uprobe", bare_uprobe)
FORM("uprobe.multi", bare_uprobe_multi)
FORM("usdt", bare_usdt)
FORM("tp", bare_tp)
FORM("raw_tp", bare_raw_tp)

// Targets that are wrong.
FORM("kprobe/no_such_function", wrong_kprobe)
FORM("kprobe.multi/no_such_*", wrong_kprobe_multi)
FORM("kprobe.multi/no-such", wrong_pattern)
FORM("ksyscall/no_such_call", wrong_syscall)
FORM("uprobe/no-such-program:main", wrong_program)
FORM("uprobe/libno-such.so:main", wrong_library)
FORM("uprobe/" VICTIM ":no_such_function", wrong_symbol)
FORM("uprobe/" VICTIM, wrong_no_symbol)
FORM("uprobe/" VICTIM ":traced_one+0x1000", wrong_offset)
FORM("uretprobe/" VICTIM ":traced_one+0x4", wrong_ret_offset)
FORM("uprobe.multi/" VICTIM ":no_such_*", wrong_uprobe_multi)
FORM("usdt/" VICTIM ":victim:no_such_probe", wrong_probe)
FORM("usdt/" VICTIM ":victim", wrong_probe_target)
FORM("usdt//proc/self/exe:victim:plain", wrong_no_notes)
FORM("tp/sched_process_fork", wrong_tp)
FORM("tp/sched/no_such_event", wrong_event)
FORM("raw_tp/no_such_tracepoint", wrong_raw_tp)

char LICENSE[] SEC("license") = "Dual BSD/GPL";
