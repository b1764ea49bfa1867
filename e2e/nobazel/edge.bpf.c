//go:build ignore

/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "limit/limit.bpf.h"

char LICENSE[] SEC("license") = "GPL";

enum verdict { VERDICT_NONE, VERDICT_PASS, VERDICT_DROP };

enum verdict last;

SEC("xdp")
int edge(struct xdp_md *ctx)
{
	last = limit_allow() ? VERDICT_PASS : VERDICT_DROP;
	return last == VERDICT_PASS ? XDP_PASS : XDP_DROP;
}
