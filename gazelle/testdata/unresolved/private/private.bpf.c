#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "private.h"

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";

int only_private(int x)
{
	return x;
}
