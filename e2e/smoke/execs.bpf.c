#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "execs.h"

#if defined(__TARGET_ARCH_arm64)
#define TARGET_ARCH "compiled for arm64"
#elif defined(__TARGET_ARCH_x86)
#define TARGET_ARCH "compiled for x86"
#else
#define TARGET_ARCH "compiled for another cpu"
#endif

const char target_arch[32] = TARGET_ARCH;
unsigned long long execs = 1;
struct last_exec last_exec;

SEC("tp/sched/sched_process_exec")
int handle_exec(void *ctx)
{
	execs++;
	last_exec.pid = bpf_get_current_pid_tgid() >> 32;
	last_exec.time = bpf_ktime_get_ns();
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
