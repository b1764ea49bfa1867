#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "expressions/globbed/shared.h"

int common(int x);
int per_cpu(int x);

SEC("xdp")
int edge(void *ctx)
{
	return one(1) + common(2) + per_cpu(3);
}

char LICENSE[] SEC("license") = "GPL";
