// SPDX-License-Identifier: Apache-2.0

// Programs of kinds that a kernel may refuse because of how it was started or set up. All
// are optional, so that a test loads just the one that it looks at.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

__u64 hits;

// What the kernel's types and symbols are asked for.
__u32 has_pid;
__u64 address;

// The thread that was renamed last, when a program may know.
__s32 pid;

struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

extern const void security_task_getsid __ksym;

static int hit(void)
{
	// Relaxed, so that it is the instruction that every kernel has.
	__atomic_fetch_add(&hits, 1, __ATOMIC_RELAXED);
	return 0;
}

#define PROGRAM(section, name) \
	SEC("?" section) \
	int name(void *ctx) { return hit(); }

PROGRAM("kprobe/security_task_getsid", kprobe)
PROGRAM("kprobe.multi/security_task_get?id", kprobe_multi)
PROGRAM("tp/syscalls/sys_enter_getsid", tp)
PROGRAM("raw_tp/task_rename", raw_tp)
PROGRAM("tp_btf/task_rename", tp_btf)
PROGRAM("fentry/security_task_getsid", fentry)
PROGRAM("perf_event", sample)
PROGRAM("xdp", xdp)
PROGRAM("cgroup_skb/egress", cgroup)

SEC("?raw_tp/task_rename")
int reads_kernel(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 word;

	bpf_probe_read_kernel(&word, sizeof(word), (void *)ctx->args[0]);
	return hit();
}

SEC("?raw_tp/task_rename")
int writes_user(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 word = 0;

	bpf_probe_write_user((void *)ctx->args[1], &word, sizeof(word));
	return hit();
}

SEC("?raw_tp/task_rename")
int asks_types(void *ctx)
{
	has_pid = bpf_core_field_exists(((struct task_struct *)0)->pid);
	return hit();
}

SEC("?raw_tp/task_rename")
int asks_address(void *ctx)
{
	address = (__u64)&security_task_getsid;
	return hit();
}

SEC("?tp_btf/task_rename")
int follows_pointer(__u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];

	pid = task->pid;
	return hit();
}

char LICENSE[] SEC("license") = "GPL";
