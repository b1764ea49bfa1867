// SPDX-License-Identifier: Apache-2.0

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "tests/subskeleton/pool/pool.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4);
} memory SEC(".maps");

/* So that the library's variables are not where the library has them. */
unsigned int __arena app_before[3] = {1, 2, 3};
static unsigned int __arena pool_taken_too = 4;
unsigned long long __arena app_slot = 10;

SEC("syscall")
int pooled_take(void *ctx)
{
	app_before[0] += pool_taken_too++;
	return pool_take();
}

char LICENSE[] SEC("license") = "GPL";
