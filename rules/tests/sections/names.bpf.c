// SPDX-License-Identifier: Apache-2.0

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

// A number of packets, which Go code reads.
__u64 packets;

#ifdef MISSPELT
SEC("xpd")
int entry(struct xdp_md *ctx)
{
	return XDP_PASS;
}
#endif

// A section of the project's own.
SEC("filters/count")
int count(struct __sk_buff *skb)
{
	packets++;
	return 0;
}

// What loaders took by its prefix.
SEC("tc_ingress")
int ingress(struct __sk_buff *skb)
{
	packets++;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
