// SPDX-License-Identifier: Apache-2.0

// What a skeleton goes through in its life: every kind of data section, a
// program that fires all the time, and some that fail on request.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

const volatile __u32 pid = 0;
const volatile __u64 step = 1;

__u64 calls;
__u64 exits;
__u32 last_syscall = 4096;
__u64 custom SEC(".data.custom") = 7;
__u32 custom_constant SEC(".rodata.custom") = 9;

// Neither of these is for user space.
static volatile __u64 internal_calls;
__attribute__((visibility("hidden"))) __u64 hidden_calls = 3;
__attribute__((visibility("hidden"))) __u64 hidden_only SEC(".data.hidden") = 5;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

struct enter {
	__u64 common;
	long id;
};

static int ignored(void)
{
	return pid && bpf_get_current_pid_tgid() >> 32 != pid;
}

SEC("tp/raw_syscalls/sys_enter")
int on_enter(struct enter *ctx)
{
	__u32 key = 0;

	if (ignored())
		return 0;
	last_syscall = ctx->id;
	internal_calls++;
	hidden_calls++;
	hidden_only++;
	custom += custom_constant;
	__atomic_fetch_add(&calls, step, __ATOMIC_RELAXED);
	bpf_map_update_elem(&seen, &key, &calls, BPF_ANY);
	return 0;
}

SEC("?tp/raw_syscalls/sys_exit")
int on_exit(void *ctx)
{
	if (ignored())
		return 0;
	__atomic_fetch_add(&exits, 1, __ATOMIC_RELAXED);
	return 0;
}

// The section names no target.
SEC("xdp")
int no_target(struct xdp_md *ctx)
{
	return XDP_PASS;
}

// Loads, but there is no such tracepoint to attach to.
SEC("?tp/nosuch/tracepoint")
int cannot_attach(void *ctx)
{
	return 0;
}

// The verifier rejects it: the context of a tracepoint is not that long.
SEC("?tp/raw_syscalls/sys_enter")
int cannot_load(void *ctx)
{
	return *(volatile int *)(ctx + 100000);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
