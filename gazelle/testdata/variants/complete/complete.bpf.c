#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

int runs;

SEC("socket")
int run(void *ctx)
{
	runs++;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
