// SPDX-License-Identifier: Apache-2.0

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "flow.h"

/* Another one than core's. */
struct state {
	unsigned int edges;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, struct flow);
	__type(value, bytes_t);
} seen SEC(".maps");

struct state state;

SEC("xdp")
int edge(struct xdp_md *ctx)
{
	struct flow flow = {.source = 7, .direction = OUT, .ports = {1, 2}};
	bytes_t bytes = ctx->data_end - ctx->data;

	state.edges++;
	bpf_map_update_elem(&seen, &flow, &bytes, BPF_ANY);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
