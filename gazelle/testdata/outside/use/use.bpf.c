#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "outside/excluded/excluded.bpf.h"

SEC("xdp")
int edge(void *ctx)
{
	return excluded(1);
}

char LICENSE[] SEC("license") = "GPL";
