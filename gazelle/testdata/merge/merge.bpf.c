#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct event { __u64 time; };
struct event *unused __hidden;

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
