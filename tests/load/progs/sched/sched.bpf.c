// SPDX-License-Identifier: Apache-2.0

// A scheduler of one queue. What it calls has had two names.

#include <stdbool.h>
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define QUEUE 7
#define SLICE 5000000ull

/* To be the kernel's, it must be a struct here too, and not only be declared. */
struct task_struct {};
enum scx_exit_kind {
	SCX_EXIT_NONE,
};
struct scx_exit_info {
	enum scx_exit_kind kind;
} __attribute__((preserve_access_index));

/* As much as the programs need of the kernel's, and a member that it does not have. */
struct sched_ext_ops___of_tests {
	void (*dispatch)(__s32 cpu, struct task_struct *previous);
	void (*enqueue)(struct task_struct *task, __u64 flags);
	__s32 (*init)(void);
	void (*exit)(struct scx_exit_info *info);
	__u32 timeout_ms;
	__u32 no_such_member;
	char name[128];
};

extern __s32 scx_bpf_create_dsq(__u64 queue, __s32 node) __ksym;
extern void scx_bpf_dsq_insert(struct task_struct *task, __u64 queue, __u64 slice, __u64 flags) __ksym __weak;
extern void scx_bpf_dispatch(struct task_struct *task, __u64 queue, __u64 slice, __u64 flags) __ksym __weak;
extern bool scx_bpf_dsq_move_to_local(__u64 queue) __ksym __weak;
extern bool scx_bpf_consume(__u64 queue) __ksym __weak;

__u64 enqueued, dispatched;
__u32 inits, exits;
int exit_kind;
const volatile __u64 slice = SLICE;

SEC("struct_ops/enqueue")
int BPF_PROG(queue_enqueue, struct task_struct *task, __u64 flags)
{
	__sync_fetch_and_add(&enqueued, 1);
	if (bpf_ksym_exists(scx_bpf_dsq_insert))
		scx_bpf_dsq_insert(task, QUEUE, slice, flags);
	else
		scx_bpf_dispatch(task, QUEUE, slice, flags);
	return 0;
}

SEC("struct_ops/dispatch")
int BPF_PROG(queue_dispatch, __s32 cpu, struct task_struct *previous)
{
	bool some = bpf_ksym_exists(scx_bpf_dsq_move_to_local) ? scx_bpf_dsq_move_to_local(QUEUE) : scx_bpf_consume(QUEUE);

	if (some)
		__sync_fetch_and_add(&dispatched, 1);
	return 0;
}

SEC("struct_ops.s/init")
int BPF_PROG(queue_init)
{
	inits++;
	return scx_bpf_create_dsq(QUEUE, -1);
}

SEC("struct_ops/exit")
int BPF_PROG(queue_exit, struct scx_exit_info *info)
{
	exits++;
	exit_kind = info->kind;
	return 0;
}

SEC(".struct_ops.link")
struct sched_ext_ops___of_tests one_queue = {
	.enqueue = (void *)queue_enqueue,
	.dispatch = (void *)queue_dispatch,
	.init = (void *)queue_init,
	.exit = (void *)queue_exit,
	.timeout_ms = 5000,
	.name = "one_queue",
};

char LICENSE[] SEC("license") = "GPL";
