#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "edge.h"
#include "../libs/deep/deep.h"

SEC("xdp")
int edge(void *ctx)
{
	return deep(1);
}

char LICENSE[] SEC("license") = "GPL";
