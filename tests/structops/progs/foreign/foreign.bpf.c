// SPDX-License-Identifier: Apache-2.0

// A table of a type that no kernel has.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct teapot_ops {
	int (*brew)(void);
	int strength;
};

SEC("struct_ops")
int brew(void *ctx)
{
	return 0;
}

SEC("?.struct_ops")
struct teapot_ops teapot = {
	.brew = (void *)brew,
	.strength = 3,
};

char LICENSE[] SEC("license") = "GPL";
