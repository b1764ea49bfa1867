// SPDX-License-Identifier: Apache-2.0

// BTF that the kernel refuses, for the parameter without a name. Nothing here needs it.

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} counts SEC(".maps");

SEC("socket")
__attribute__((naked)) int pass(void *)
{
	asm volatile("r0 = 11; exit;" ::: "r0");
}

int packets;

SEC("socket")
int count(struct __sk_buff *ctx)
{
	__u32 key = 0;
	__u64 *n = bpf_map_lookup_elem(&counts, &key);

	if (n)
		(*n)++;
	return ++packets;
}

SEC("?socket")
int rejected(struct __sk_buff *ctx)
{
	return *(int *)((void *)ctx + 10000);
}

char LICENSE[] SEC("license") = "GPL";
