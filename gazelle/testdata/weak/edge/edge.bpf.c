#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

int pick(int x);
int hooks(int x);
int strict(int x);
int other(int x);

SEC("xdp")
int edge(void *ctx)
{
	return pick(1) + hooks(2) + strict(3) + other(4);
}

char LICENSE[] SEC("license") = "GPL";
