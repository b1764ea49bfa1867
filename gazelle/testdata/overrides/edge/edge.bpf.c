#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "netlib/limits/limits.bpf.h"
#include "elsewhere.h"
extern int chosen;

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return chosen;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
