// SPDX-License-Identifier: Apache-2.0

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} sizes SEC(".maps");

SEC("xdp")
int measure(struct xdp_md *ctx)
{
	__u32 size = ctx->data_end - ctx->data;
	__u64 one = 1, *n = bpf_map_lookup_elem(&sizes, &size);

	if (n)
		__sync_fetch_and_add(n, 1);
	else
		bpf_map_update_elem(&sizes, &size, &one, BPF_ANY);
	return XDP_PASS;
}
