#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

int calls;

SEC("socket") int count(void *ctx)
{
	return ++calls;
}

char _license[] SEC("license") = "GPL";
