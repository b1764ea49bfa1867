#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
extern int missing;

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return missing;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
