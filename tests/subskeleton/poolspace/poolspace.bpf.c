// SPDX-License-Identifier: Apache-2.0

// An arena for those that bring none.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 3);
} space SEC(".maps");

char LICENSE[] SEC("license") = "GPL";
