// A few CO-RE relocations, all of one kernel struct.
#include <vmlinux.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

__u64 pids, exits;

SEC("tp_btf/task_rename")
int BPF_PROG(on_rename, struct task_struct *task)
{
	pids += BPF_CORE_READ(task, real_parent, tgid);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	exits += task->exit_code + task->pid;
	return 0;
}
