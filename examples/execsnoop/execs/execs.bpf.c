// SPDX-License-Identifier: Apache-2.0

// Sends an event to user space for every program that is executed.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct event {
	__u64 time_ns; // since boot
	__u32 pid;
	__u32 uid;
	char comm[16];
	char filename[128];
};

// BTF has a type when a global variable or a map uses it.
struct event *unused_event __hidden;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} events SEC(".maps");

// Set before load: report this user's programs only. -1 reports all.
const volatile __s64 only_uid = -1;

// Events that did not fit into the ring buffer.
__u64 lost;

// The fields of the tracepoint, as in its file "format" under tracefs. The
// string's offset from the beginning of the context is in the low half.
struct exec_args {
	__u64 common;
	__u32 filename_loc;
	__s32 pid;
	__s32 old_pid;
};

SEC("tp/sched/sched_process_exec")
int on_exec(struct exec_args *ctx)
{
	__u32 uid = bpf_get_current_uid_gid();
	struct event *e;

	if (only_uid >= 0 && uid != only_uid)
		return 0;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		__atomic_fetch_add(&lost, 1, __ATOMIC_RELAXED);
		return 0;
	}
	e->time_ns = bpf_ktime_get_ns();
	e->pid = bpf_get_current_pid_tgid() >> 32;
	e->uid = uid;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	bpf_probe_read_kernel_str(e->filename, sizeof(e->filename),
				  (void *)ctx + (ctx->filename_loc & 0xffff));
	bpf_ringbuf_submit(e, 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
