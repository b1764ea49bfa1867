// SPDX-License-Identifier: Apache-2.0

// For the test alone: two files that are linked.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

int twice(int x);

int seen;

SEC("socket")
int doubled(struct __sk_buff *skb)
{
	seen = twice(skb->len);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
