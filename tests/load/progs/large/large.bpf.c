// SPDX-License-Identifier: Apache-2.0

// A section that is large and has nothing in it.

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

__u8 bytes[64 << 20];
__u64 calls;

SEC("socket")
int touch(struct __sk_buff *ctx)
{
	calls++;
	bytes[100]++;
	return bytes[sizeof(bytes) - 1];
}

char LICENSE[] SEC("license") = "GPL";
