// A program on a hook of security modules.

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

__u64 runs;

SEC("lsm/file_open")
int guard(unsigned long long *ctx)
{
	runs++;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
