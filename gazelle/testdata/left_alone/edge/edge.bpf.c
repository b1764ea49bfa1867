#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "left_alone/a/a.h"
#include "left_alone/ignored/ignored.h"
#include "left_alone/off/off.h"

SEC("xdp")
int edge(void *ctx)
{
	return ignored(1) + off(2) + a(3);
}

char LICENSE[] SEC("license") = "GPL";
