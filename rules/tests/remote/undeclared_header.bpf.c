#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "undeclared.h"

SEC("socket") int limit(void *ctx)
{
	return LIMIT;
}

char _license[] SEC("license") = "GPL";
