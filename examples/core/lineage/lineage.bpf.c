// SPDX-License-Identifier: Apache-2.0

// Tells of each program that is executed who started it, by reading the kernel's
// task_struct. Where its members are is found out when the program is loaded, so
// that the object built against one kernel's types works on others (CO-RE).

#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

struct process {
	__u32 pid;
	char comm[16];
};

struct exec {
	__u64 count;
	struct process self;
	struct process parent;
	__u64 age_ns; // since the process was started
};

struct exec last;

static void read_process(struct process *to, struct task_struct *task)
{
	to->pid = BPF_CORE_READ(task, tgid);
	BPF_CORE_READ_STR_INTO(&to->comm, task, comm);
}

SEC("raw_tp/sched_process_exec")
int on_exec(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	read_process(&last.self, task);
	read_process(&last.parent, BPF_CORE_READ(task, real_parent));
	last.age_ns = bpf_ktime_get_ns() - BPF_CORE_READ(task, group_leader, start_time);
	__atomic_fetch_add(&last.count, 1, __ATOMIC_RELAXED);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
