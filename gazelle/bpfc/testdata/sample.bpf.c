// SPDX-License-Identifier: Apache-2.0

// Keeps a histogram of how long system calls take, per CPU and without locks.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define SLOTS 32

// The value of slot n counts calls of 2^n to 2^(n+1) nanoseconds.
struct histogram {
	__u64 calls;
	__u64 total_ns;
	__u64 slots[SLOTS];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32); // thread
	__type(value, __u64); // nanoseconds since boot
} started SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct histogram);
} latency SEC(".maps");

// Set before load: look at one process only. 0 looks at all.
const volatile __u32 only_pid = 0;

static int ignored(void)
{
	return only_pid && bpf_get_current_pid_tgid() >> 32 != only_pid;
}

static __u32 log2_of(__u64 v)
{
	__u32 n = 0;

	for (int i = 0; i < SLOTS - 1; i++) {
		v >>= 1;
		if (!v)
			break;
		n++;
	}
	return n;
}

SEC("tp/raw_syscalls/sys_enter")
int on_enter(void *ctx)
{
	__u32 tid = bpf_get_current_pid_tgid();
	__u64 now = bpf_ktime_get_ns();

	if (!ignored())
		bpf_map_update_elem(&started, &tid, &now, BPF_ANY);
	return 0;
}

SEC("tp/raw_syscalls/sys_exit")
int on_exit(void *ctx)
{
	__u32 tid = bpf_get_current_pid_tgid(), zero = 0, slot;
	__u64 *since, took;
	struct histogram *h;

	since = bpf_map_lookup_elem(&started, &tid);
	if (!since)
		return 0;
	took = bpf_ktime_get_ns() - *since;
	bpf_map_delete_elem(&started, &tid);

	h = bpf_map_lookup_elem(&latency, &zero);
	if (!h)
		return 0;
	h->calls++;
	h->total_ns += took;
	slot = log2_of(took);
	if (slot < SLOTS)
		h->slots[slot]++;
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
