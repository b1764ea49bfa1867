// SPDX-License-Identifier: Apache-2.0

// Storage of tasks is in Linux since 5.11.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "tests/maps/progs/stats/stats.bpf.h"

STORAGE(of_tasks, TASK);

struct task_struct;

__u32 pid;

// A task gets another name: this process, when Go writes to /proc/self/comm.
SEC("tp_btf/task_rename")
int renamed(__u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];

	if (pid && (bpf_get_current_pid_tgid() >> 32) == pid)
		count(bpf_task_storage_get(&of_tasks, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
