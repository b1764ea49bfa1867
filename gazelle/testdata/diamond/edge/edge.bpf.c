#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "diamond/left/left.bpf.h"

int right(int x);

SEC("xdp")
int edge(void *ctx)
{
	return left(1) + right(2);
}

char LICENSE[] SEC("license") = "GPL";
