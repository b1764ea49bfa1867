// SPDX-License-Identifier: Apache-2.0

// Drops what an interface receives for blocked ports of UDP and TCP.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// That of the agent. A constant is new with each version; what is to last is in a map.
const volatile __u32 version = 1;

struct packets {
	__u64 passed;
	__u64 dropped;
};

// Ports that are blocked, and how many packets that has dropped.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u16);
	__type(value, __u64);
} blocked SEC(".maps");

// What each version of the agent has seen.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct packets);
} seen SEC(".maps");

// Returns 0 for what has no port.
static __u16 port_of(struct __sk_buff *skb)
{
	struct iphdr ip4;
	struct ipv6hdr ip6;
	__be16 ports[2];
	__u32 at;
	__u8 protocol;

	switch (bpf_ntohs(skb->protocol)) {
	case ETH_P_IP:
		if (bpf_skb_load_bytes_relative(skb, 0, &ip4, sizeof(ip4), BPF_HDR_START_NET))
			return 0;
		// Only the first fragment has a port.
		if (ip4.frag_off & bpf_htons(0x1fff))
			return 0;
		at = ip4.ihl * 4;
		protocol = ip4.protocol;
		break;
	case ETH_P_IPV6:
		if (bpf_skb_load_bytes_relative(skb, 0, &ip6, sizeof(ip6), BPF_HDR_START_NET))
			return 0;
		at = sizeof(ip6);
		protocol = ip6.nexthdr;
		break;
	default:
		return 0;
	}
	if (protocol != IPPROTO_UDP && protocol != IPPROTO_TCP)
		return 0;
	if (bpf_skb_load_bytes_relative(skb, at, ports, sizeof(ports), BPF_HDR_START_NET))
		return 0;
	return bpf_ntohs(ports[1]);
}

static struct packets *of_this_version(void)
{
	static const struct packets none;
	__u32 key = version;
	struct packets *p = bpf_map_lookup_elem(&seen, &key);

	if (p)
		return p;
	// Another CPU may have been faster.
	bpf_map_update_elem(&seen, &key, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&seen, &key);
}

SEC("tc")
int ingress(struct __sk_buff *skb)
{
	struct packets *p = of_this_version();
	__u16 port = port_of(skb);
	__u64 *dropped = port ? bpf_map_lookup_elem(&blocked, &port) : 0;

	if (!dropped) {
		if (p)
			__atomic_fetch_add(&p->passed, 1, __ATOMIC_RELAXED);
		// What passes is left to other programs.
		return TC_ACT_UNSPEC;
	}
	__atomic_fetch_add(dropped, 1, __ATOMIC_RELAXED);
	if (p)
		__atomic_fetch_add(&p->dropped, 1, __ATOMIC_RELAXED);
	return TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
