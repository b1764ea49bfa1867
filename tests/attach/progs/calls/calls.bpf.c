// SPDX-License-Identifier: Apache-2.0

// Tail calls through an array of programs that the source fills.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int called(struct xdp_md *ctx) { return XDP_DROP; }

SEC("xdp")
int other(struct xdp_md *ctx) { return XDP_TX; }

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 3);
	__uint(key_size, sizeof(__u32));
	__array(values, int(struct xdp_md *));
} calls SEC(".maps") = {
	.values = { [1] = &called },
};

// Which element to call. Elements without a program are passed over.
__u32 element;

SEC("xdp")
int caller(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &calls, element);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
