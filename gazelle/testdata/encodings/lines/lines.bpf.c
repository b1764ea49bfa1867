#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

int latin(int x);
#define CALL(x) \
	latin(x)

SEC("xdp")
int edge(void *ctx)
{
	return CALL(1);
}

char LICENSE[] SEC("license") = "GPL";
