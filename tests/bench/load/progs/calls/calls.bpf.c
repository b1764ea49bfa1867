// Counts a process's calls of bpf(2), by command.
#include <vmlinux.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

// The number of the system call, and the process.
const volatile __u64 bpf_number;
__u32 process;

__u64 counts[64];

SEC("raw_tp/sys_enter")
int count(struct bpf_raw_tracepoint_args *ctx)
{
	struct pt_regs *regs = (struct pt_regs *)ctx->args[0];
	__u64 command;

	if (ctx->args[1] != bpf_number || bpf_get_current_pid_tgid() >> 32 != process)
		return 0;
	command = PT_REGS_PARM1_CORE_SYSCALL(regs);
	if (command < 64)
		__sync_fetch_and_add(&counts[command], 1);
	return 0;
}
