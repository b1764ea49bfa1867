#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <net/limits/limits.bpf.h>

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return limits_get();
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
