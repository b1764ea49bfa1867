// SPDX-License-Identifier: Apache-2.0

// What cilium/ebpf takes, and a skeleton does not: sections by their beginning, a
// map as it was before BTF, a function that nobody defines before run time.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#ifndef ENTRIES
#define ENTRIES 16
#endif

struct bpf_map_def {
	unsigned int type;
	unsigned int key_size;
	unsigned int value_size;
	unsigned int max_entries;
	unsigned int map_flags;
};

struct bpf_map_def SEC("maps") by_cpu = {
	.type = BPF_MAP_TYPE_HASH,
	.key_size = sizeof(__u32),
	.value_size = sizeof(__u64),
	.max_entries = ENTRIES,
};

struct stats {
	__u64 packets;
	__u32 port;
};

struct event {
	__u32 pid;
};
struct event *unused_event __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct stats);
	__uint(max_entries, ENTRIES);
} by_port SEC(".maps");

const volatile __u32 step = 1;
__u64 total;

int weight(int len);

SEC("socket1")
int count_packets(struct __sk_buff *skb)
{
	__u32 cpu = bpf_get_smp_processor_id();
	__u64 one = 1;

	bpf_map_update_elem(&by_cpu, &cpu, &one, BPF_ANY);
	total += step;
	return weight(skb->len);
}

SEC("xdp_entry")
int drop(struct xdp_md *ctx)
{
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
