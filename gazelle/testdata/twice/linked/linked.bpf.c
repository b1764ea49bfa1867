#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
extern int a, b;

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return a + b;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
