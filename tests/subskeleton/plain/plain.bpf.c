// SPDX-License-Identifier: Apache-2.0

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "tests/subskeleton/limiter/limiter.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, unsigned int);
	__type(value, unsigned long long);
} app_counts SEC(".maps");

int app_id = 10;

SEC("xdp")
int plain_filter(struct xdp_md *ctx)
{
	return limiter_allow(app_id);
}

char LICENSE[] SEC("license") = "GPL";
