#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "libraries/ratelimit/ratelimit.bpf.h"

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	if (!ratelimit_allow(ctx->ingress_ifindex))
		return XDP_DROP;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
