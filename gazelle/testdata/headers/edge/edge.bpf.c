#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../only/only.bpf.h"
#include "headers/two/a.bpf.h"
#include "headers/directed/made.h"
#include "edge.h"

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return a() + ONLY + MADE + EDGE;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
