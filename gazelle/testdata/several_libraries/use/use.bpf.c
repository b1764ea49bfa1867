#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern int right(void);

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return right() ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
