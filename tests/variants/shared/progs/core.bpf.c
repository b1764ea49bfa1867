// SPDX-License-Identifier: Apache-2.0

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "flow.h"

struct state {
	unsigned int flows;
	struct flow last;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, struct flow);
	__type(value, bytes_t);
} limits SEC(".maps");

struct state state;
bytes_t limit_of_last;

SEC("xdp")
int core(struct xdp_md *ctx)
{
	bytes_t *limit = bpf_map_lookup_elem(&limits, &state.last);

	state.flows++;
	if (limit)
		limit_of_last = *limit;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
