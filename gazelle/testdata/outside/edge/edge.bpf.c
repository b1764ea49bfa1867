#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "/usr/include/absolute.h"
#include "../../../outside.h"
#include </usr/include/angled.h>

SEC("xdp")
int edge(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
