//go:build ignore

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int named(void *ctx)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
