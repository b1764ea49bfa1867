// SPDX-License-Identifier: Apache-2.0

// A table in the section that the loader does not take.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct bpf_dummy_ops {
	int (*test_1)(void *state);
};

SEC("struct_ops/test_1")
int test_1(void *ctx)
{
	return 0;
}

SEC(".struct_ops")
struct bpf_dummy_ops table = {.test_1 = (void *)test_1};

char _license[] SEC("license") = "GPL";
