// SPDX-License-Identifier: Apache-2.0

// One program for each kind of section that attaches by itself. All are
// optional, so that a test loads just the one that it looks at.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u64 hits;

static int hit(void)
{
	// Relaxed, so that it is the instruction that every kernel has: those that
	// return the old value came with 5.12.
	__atomic_fetch_add(&hits, 1, __ATOMIC_RELAXED);
	return 0;
}

SEC("?tp/sched/sched_process_fork")
int tp(void *ctx) { return hit(); }

SEC("?tracepoint/sched/sched_process_fork")
int tracepoint(void *ctx) { return hit(); }

SEC("?raw_tp/sched_process_fork")
int raw_tp(void *ctx) { return hit(); }

SEC("?raw_tracepoint/sched_process_fork")
int raw_tracepoint(void *ctx) { return hit(); }

SEC("?tp_btf/sched_process_fork")
int tp_btf(void *ctx) { return hit(); }

SEC("?kprobe/wake_up_new_task")
int kprobe(void *ctx) { return hit(); }

SEC("?kprobe/wake_up_new_task+0x0")
int kprobe_offset(void *ctx) { return hit(); }

SEC("?kretprobe/wake_up_new_task")
int kretprobe(void *ctx) { return hit(); }

SEC("?fentry/wake_up_new_task")
int fentry(void *ctx) { return hit(); }

SEC("?fexit/wake_up_new_task")
int fexit(void *ctx) { return hit(); }

// Of a file that most processes have mapped.
SEC("?uprobe/libc.so.6:malloc")
int uprobe(void *ctx) { return hit(); }

SEC("?uprobe.s/libc.so.6:malloc")
int uprobe_s(void *ctx) { return hit(); }

SEC("?uretprobe/libc.so.6:malloc")
int uretprobe(void *ctx) { return hit(); }

// Without a target: these are left to the user.
SEC("?kprobe")
int bare_kprobe(void *ctx) { return hit(); }

SEC("?uprobe")
int bare_uprobe(void *ctx) { return hit(); }

SEC("?tp")
int bare_tp(void *ctx) { return hit(); }

SEC("?raw_tp")
int bare_raw_tp(void *ctx) { return hit(); }

// With a target that is wrong.
SEC("?tp/sched_process_fork")
int tp_without_category(void *ctx) { return hit(); }

SEC("?kprobe/no_such_function_in_any_kernel")
int kprobe_nowhere(void *ctx) { return hit(); }

SEC("?kprobe/wake_up_new_task+four")
int kprobe_bad_offset(void *ctx) { return hit(); }

SEC("?kretprobe/wake_up_new_task+4")
int kretprobe_offset(void *ctx) { return hit(); }

SEC("?uprobe//no/such/file:main")
int uprobe_nowhere(void *ctx) { return hit(); }

SEC("?uprobe//proc/self/exe:no_such_function_in_any_library")
int uprobe_no_symbol(void *ctx) { return hit(); }

SEC("?raw_tp/no_such_tracepoint")
int raw_tp_nowhere(void *ctx) { return hit(); }

char LICENSE[] SEC("license") = "Dual BSD/GPL";
