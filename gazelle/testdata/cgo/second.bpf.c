#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "shared.h"

unsigned int seen;

SEC("xdp")
int on_packet(struct xdp_md *ctx)
{
	seen += SHARED_LIMIT;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
