// SPDX-License-Identifier: Apache-2.0

// Counts the packets that an interface receives, by protocol.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum protocol {
	PROTOCOL_OTHER,
	PROTOCOL_ARP,
	PROTOCOL_IPV6,
	PROTOCOL_IPV4,
	PROTOCOL_IPV4_TCP,
	PROTOCOL_IPV4_UDP,
	PROTOCOL_COUNT,
};

struct traffic {
	__u64 packets;
	__u64 bytes;
};

struct traffic received[PROTOCOL_COUNT];
enum protocol last_protocol = PROTOCOL_COUNT;

// Set before load: drop what is of this protocol. PROTOCOL_COUNT drops nothing.
const volatile enum protocol dropped = PROTOCOL_COUNT;

static enum protocol classify(void *data, void *end)
{
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);

	if ((void *)(eth + 1) > end)
		return PROTOCOL_OTHER;
	switch (bpf_ntohs(eth->h_proto)) {
	case ETH_P_ARP:
		return PROTOCOL_ARP;
	case ETH_P_IPV6:
		return PROTOCOL_IPV6;
	case ETH_P_IP:
		break;
	default:
		return PROTOCOL_OTHER;
	}
	if ((void *)(ip + 1) > end)
		return PROTOCOL_IPV4;
	switch (ip->protocol) {
	case IPPROTO_TCP:
		return PROTOCOL_IPV4_TCP;
	case IPPROTO_UDP:
		return PROTOCOL_IPV4_UDP;
	default:
		return PROTOCOL_IPV4;
	}
}

SEC("xdp")
int count_packet(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	enum protocol p = classify(data, end);

	if (p >= PROTOCOL_COUNT)
		return XDP_ABORTED;
	__atomic_fetch_add(&received[p].packets, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&received[p].bytes, end - data, __ATOMIC_RELAXED);
	last_protocol = p;
	return p == dropped ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
