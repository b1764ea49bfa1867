#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../private/private.h"

int only_private(int x);

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return only_private(XDP_PASS);
}

char LICENSE[] SEC("license") = "GPL";
