// SPDX-License-Identifier: Apache-2.0

// Variables in an arena. Clang knows these since version 19.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define __arena __attribute__((address_space(1)))

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4);
} memory SEC(".maps");

struct pair {
	__u32 first;
	__u64 second;
};

__u64 __arena counter = 5;
struct pair __arena pair = {1, 2};
static __u32 __arena not_exposed = 7;
__u32 __arena zero;

__u64 address_of_counter, address_of_zero;

// Only takes addresses: those that user space has.
SEC("syscall")
int addresses(void *ctx)
{
	address_of_counter = (__u64)&counter;
	address_of_zero = (__u64)&zero;
	return 0;
}

// Goes to the memory.
SEC("syscall")
int count(void *ctx)
{
	counter += not_exposed++;
	pair.second = counter;
	zero = 1;
	return 0;
}

char _license[] SEC("license") = "GPL";
