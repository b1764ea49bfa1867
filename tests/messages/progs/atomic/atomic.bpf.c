// An addition whose result nobody uses. clang 20 and later make of it, for -mcpu=v3, an
// instruction that Linux 5.12 brought.

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

__u64 runs;

SEC("xdp")
int count(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&runs, 1);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
