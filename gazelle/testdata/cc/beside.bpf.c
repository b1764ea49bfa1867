#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "event.h"

SEC("xdp")
int edge(void *ctx)
{
	return sizeof(struct event);
}

char LICENSE[] SEC("license") = "GPL";
