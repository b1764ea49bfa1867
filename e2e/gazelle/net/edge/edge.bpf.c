#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "net/ratelimit/ratelimit.bpf.h"

__u64 dropped;

SEC("xdp")
int limit(struct xdp_md *ctx)
{
	if (ratelimit_allow())
		return XDP_PASS;
	__atomic_fetch_add(&dropped, 1, __ATOMIC_RELAXED);
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
