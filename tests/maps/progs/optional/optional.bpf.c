// SPDX-License-Identifier: Apache-2.0

// A program for newer kernels, and the map that it alone uses: neither is needed.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 64);
	__type(value, __u32);
} seen SEC(".maps");

__u32 runs;

SEC("?socket")
int remember(struct __sk_buff *skb)
{
	__u32 length = skb->len;

	return bpf_map_push_elem(&seen, &length, 0);
}

SEC("socket")
int count(struct __sk_buff *skb)
{
	return ++runs;
}

char _license[] SEC("license") = "GPL";
