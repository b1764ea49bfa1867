#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "common.bpf.c"

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return common();
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
