#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "generated/made.h"

SEC("xdp")
int edge(void *ctx)
{
	return sizeof(struct made);
}

char LICENSE[] SEC("license") = "GPL";
