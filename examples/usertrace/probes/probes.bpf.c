// SPDX-License-Identifier: Apache-2.0

// Counts calls of a function and passes of a USDT, by process. Neither
// section names a target: the command line does.

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>

struct process {
	__u32 pid;
	char comm[16];
};

struct counts {
	__u64 calls;
	__u64 probes;
	// The first argument of the last USDT.
	__s64 last_arg;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, struct process);
	__type(value, struct counts);
} processes SEC(".maps");

static struct counts *counts_of_current(void)
{
	struct process p = { .pid = bpf_get_current_pid_tgid() >> 32 };
	struct counts zero = {};

	bpf_get_current_comm(p.comm, sizeof(p.comm));
	bpf_map_update_elem(&processes, &p, &zero, BPF_NOEXIST);
	return bpf_map_lookup_elem(&processes, &p);
}

SEC("uprobe")
int on_call(struct pt_regs *ctx)
{
	struct counts *c = counts_of_current();

	if (c)
		__atomic_fetch_add(&c->calls, 1, __ATOMIC_RELAXED);
	return 0;
}

SEC("usdt")
int on_probe(struct pt_regs *ctx)
{
	struct counts *c = counts_of_current();
	long arg = 0;

	if (!c)
		return 0;
	__atomic_fetch_add(&c->probes, 1, __ATOMIC_RELAXED);
	if (bpf_usdt_arg(ctx, 0, &arg) == 0)
		c->last_arg = arg;
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
