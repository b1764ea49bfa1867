//go:build ignore

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "first.bpf.h"
#include "only_bpf.h"
#include "shared.h"

struct first_state state;

SEC("tp/sched/sched_process_exec")
int on_exec(void *ctx)
{
	state.count += SHARED_LIMIT + ONLY_BPF;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
