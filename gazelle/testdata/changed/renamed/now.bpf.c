#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int edge(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
