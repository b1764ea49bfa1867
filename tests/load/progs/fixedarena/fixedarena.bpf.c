// SPDX-License-Identifier: Apache-2.0

// An arena that asks for its address.

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define __arena __attribute__((address_space(1)))

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 10);
	__ulong(map_extra, 0x2ull << 44);
} memory SEC(".maps");

__u64 __arena counter = 5;
__u64 where;

SEC("syscall")
int count(void *ctx)
{
	where = (__u64)&counter;
	return ++counter;
}

char LICENSE[] SEC("license") = "GPL";
