#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

int right(int x);

SEC("xdp")
int second(void *ctx)
{
	return right(2);
}

char LICENSE[] SEC("license") = "GPL";
