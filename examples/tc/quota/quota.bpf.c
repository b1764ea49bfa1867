// SPDX-License-Identifier: Apache-2.0

// Counts what an interface exchanges with each address, by protocol, and drops what
// is beyond an allowance.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// The other end: who sent what the interface receives, who gets what it sends.
struct peer {
	__u8 address[16]; // IPv4 as ::ffff:a.b.c.d
	__u32 protocol;
};

struct count {
	__u64 packets;
	__u64 bytes;
};

struct traffic {
	struct count received;
	struct count sent;
	struct count dropped; // in either direction
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct peer);
	__type(value, struct traffic);
} peers SEC(".maps");

// Bytes that may pass, in both directions together, per peer; 0 is no limit. User
// space changes it at any time.
__u64 allowance;

// Packets of peers for which the map had no room. They passed.
__u64 untracked;

// Returns 0 if the packet is not IP.
static int find_peer(struct __sk_buff *skb, struct peer *peer, _Bool incoming)
{
	struct iphdr ip4;
	struct ipv6hdr ip6;

	// Relative to the network header: not all devices have Ethernet's before it.
	switch (bpf_ntohs(skb->protocol)) {
	case ETH_P_IP:
		if (bpf_skb_load_bytes_relative(skb, 0, &ip4, sizeof(ip4), BPF_HDR_START_NET))
			return 0;
		peer->address[10] = peer->address[11] = 0xff;
		__builtin_memcpy(&peer->address[12], incoming ? &ip4.saddr : &ip4.daddr, 4);
		peer->protocol = ip4.protocol;
		return 1;
	case ETH_P_IPV6:
		if (bpf_skb_load_bytes_relative(skb, 0, &ip6, sizeof(ip6), BPF_HDR_START_NET))
			return 0;
		__builtin_memcpy(peer->address, incoming ? &ip6.saddr : &ip6.daddr, 16);
		peer->protocol = ip6.nexthdr;
		return 1;
	default:
		return 0;
	}
}

static struct traffic *find_traffic(struct peer *peer)
{
	static const struct traffic none;
	struct traffic *t = bpf_map_lookup_elem(&peers, peer);

	if (t)
		return t;
	// Another CPU may have been faster.
	bpf_map_update_elem(&peers, peer, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&peers, peer);
}

static void add(struct count *c, __u32 bytes)
{
	// Relaxed: the instruction that kernels before 5.12 have as well.
	__atomic_fetch_add(&c->packets, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&c->bytes, bytes, __ATOMIC_RELAXED);
}

// What passes is left to the programs that are attached after this one.
static int police(struct __sk_buff *skb, _Bool incoming)
{
	struct peer peer = {};
	struct traffic *t;
	__u64 limit = allowance;

	if (!find_peer(skb, &peer, incoming))
		return TC_ACT_UNSPEC;
	t = find_traffic(&peer);
	if (!t) {
		__atomic_fetch_add(&untracked, 1, __ATOMIC_RELAXED);
		return TC_ACT_UNSPEC;
	}
	// Packets at the same instant on two CPUs may both take the last bytes.
	if (limit && t->received.bytes + t->sent.bytes + skb->len > limit) {
		add(&t->dropped, skb->len);
		return TC_ACT_SHOT;
	}
	add(incoming ? &t->received : &t->sent, skb->len);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int ingress(struct __sk_buff *skb)
{
	return police(skb, 1);
}

SEC("tc")
int egress(struct __sk_buff *skb)
{
	return police(skb, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
