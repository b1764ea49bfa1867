#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
extern int value;

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return value;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
