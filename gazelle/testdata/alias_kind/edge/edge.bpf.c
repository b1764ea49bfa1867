#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "alias_kind/limit/limit.bpf.h"

SEC("xdp")
int edge(void *ctx)
{
	return limit(1);
}

char LICENSE[] SEC("license") = "GPL";
