//go:build ignore

// SPDX-License-Identifier: Apache-2.0

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

const volatile __u32 limit = 1000;
__u32 passed;

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return __sync_fetch_and_add(&passed, 1) < limit ? XDP_PASS : XDP_DROP;
}

char __license[] SEC("license") = "Dual BSD/GPL";
