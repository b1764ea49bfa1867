#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "unresolved/include/nobody.h"
#include "absent.h"
extern int missing;
extern int maybe __weak;

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return missing + maybe;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
