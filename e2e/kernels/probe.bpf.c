// SPDX-License-Identifier: Apache-2.0

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

const volatile int rounds = 2;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

SEC("xdp")
int count(struct xdp_md *ctx)
{
	for (__u32 i = 0; i < rounds && i < 64; i++) {
		__u32 key = i;
		__u64 *n = bpf_map_lookup_elem(&counts, &key);

		if (n)
			(*n)++;
	}
	return XDP_PASS;
}

SEC("xdp")
int unchecked(struct xdp_md *ctx)
{
	return *(char *)(long)ctx->data;
}
