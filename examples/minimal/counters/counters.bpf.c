// SPDX-License-Identifier: Apache-2.0

// Counts what the scheduler does, in global variables.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct task {
	__u32 pid;
	__u32 uid;
	char comm[16];
};

// Constant for the verifier, set by user space before the program is loaded:
// events of this process are not counted. 0 counts all.
const volatile __u32 ignored_pid = 0;

__u64 switches;
__u64 forks;
__u64 execs;
struct task last_exec;

static __u32 current_pid(void)
{
	return bpf_get_current_pid_tgid() >> 32;
}

SEC("tp/sched/sched_switch")
int count_switch(void *ctx)
{
	if (ignored_pid && current_pid() == ignored_pid)
		return 0;
	__atomic_fetch_add(&switches, 1, __ATOMIC_RELAXED);
	return 0;
}

SEC("tp/sched/sched_process_fork")
int count_fork(void *ctx)
{
	if (ignored_pid && current_pid() == ignored_pid)
		return 0;
	__atomic_fetch_add(&forks, 1, __ATOMIC_RELAXED);
	return 0;
}

SEC("tp/sched/sched_process_exec")
int count_exec(void *ctx)
{
	last_exec.pid = current_pid();
	last_exec.uid = bpf_get_current_uid_gid();
	bpf_get_current_comm(last_exec.comm, sizeof(last_exec.comm));
	__atomic_fetch_add(&execs, 1, __ATOMIC_RELAXED);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
