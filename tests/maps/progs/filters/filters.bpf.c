// SPDX-License-Identifier: Apache-2.0

// Bloom filters are in Linux since 5.16.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

// With padding, which the kernel compares too.
struct name {
	__u8 kind;
	__u32 id;
};

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 100);
	__type(value, struct name);
} bloom SEC(".maps");

// Not on the stack: the verifier of Linux 7.2 believes that peek only writes there,
// as it does for other maps, and drops what was stored before.
static struct name known = {.kind = 1, .id = 10}, unknown = {.kind = 1, .id = 11};

SEC("xdp")
int filter(struct xdp_md *ctx)
{
	struct name added = {};
	int result;

	added.kind = 2;
	added.id = 20;
	result = !bpf_map_peek_elem(&bloom, &known);
	result |= !bpf_map_peek_elem(&bloom, &unknown) << 1;
	bpf_map_push_elem(&bloom, &added, 0);
	return result;
}

char LICENSE[] SEC("license") = "GPL";
