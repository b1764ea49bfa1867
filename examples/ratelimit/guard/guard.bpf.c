// SPDX-License-Identifier: Apache-2.0

// Limits the IPv4 packets that the processes of a cgroup send, by their destinations.
// A packet costs more the longer it is.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "examples/ratelimit/limiter/limiter.bpf.h"

#define COST_BYTES 512

// In the place of the library's own.
int limiter_cost(__u32 bytes)
{
	return 1 + bytes / COST_BYTES;
}

SEC("cgroup_skb/egress")
int guard(struct __sk_buff *skb)
{
	struct iphdr ip;

	if (skb->protocol != bpf_htons(ETH_P_IP) || bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)))
		return 1;
	// The verifier checks a global function apart from its callers, and so does
	// not know what it returns.
	return limiter_allow(ip.daddr, skb->len) ? 1 : 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
