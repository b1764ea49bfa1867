// SPDX-License-Identifier: Apache-2.0

// Maps that are declared by the sizes of their keys, of the kinds whose keys can be nothing
// but a u32. Programs take what Go has put at index 1, and CPU 0.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct slot {
	__u64 hits;
	__u32 last;
};

#define BY_SIZE(kind, members...)                                                                                      \
	__uint(type, BPF_MAP_TYPE_##kind);                                                                             \
	__uint(max_entries, 4);                                                                                        \
	__uint(key_size, sizeof(__u32));                                                                               \
	members

// What a value is says its type.
struct { BY_SIZE(ARRAY, __type(value, struct slot)); } slots SEC(".maps");
struct { BY_SIZE(PERCPU_ARRAY, __type(value, struct slot)); } scratch SEC(".maps");

// Nothing says what a value is.
struct { BY_SIZE(PERCPU_ARRAY, __uint(value_size, sizeof(struct slot))); } raw SEC(".maps");

// The kernel says what it is.
struct { BY_SIZE(STACK_TRACE, __uint(value_size, 16 * sizeof(__u64))); } stacks SEC(".maps");
struct { BY_SIZE(DEVMAP, __uint(value_size, sizeof(int))); } ports SEC(".maps");
struct { BY_SIZE(DEVMAP, __uint(value_size, sizeof(struct bpf_devmap_val))); } ports_with_programs SEC(".maps");
struct { BY_SIZE(CPUMAP, __uint(value_size, sizeof(int))); } cpus SEC(".maps");
struct { BY_SIZE(XSKMAP, __uint(value_size, sizeof(int))); } queues SEC(".maps");

struct inner { BY_SIZE(ARRAY, __type(value, __u64)); };
struct { BY_SIZE(ARRAY_OF_MAPS, __array(values, struct inner)); } outer SEC(".maps");

long stack;
__u32 pid;

static __always_inline void hit(struct slot *slot)
{
	if (!slot)
		return;
	slot->hits++;
	slot->last = 7;
}

SEC("xdp")
int count(struct xdp_md *ctx)
{
	__u32 one = 1;
	void *inner = bpf_map_lookup_elem(&outer, &one);
	__u64 *hits;

	hit(bpf_map_lookup_elem(&slots, &one));
	hit(bpf_map_lookup_elem(&scratch, &one));
	hit(bpf_map_lookup_elem(&raw, &one));
	if (inner && (hits = bpf_map_lookup_elem(inner, &one)))
		*hits += 1;
	return XDP_PASS;
}

SEC("xdp")
int to_port(struct xdp_md *ctx)
{
	return bpf_redirect_map(&ports, 1, 0);
}

SEC("xdp")
int to_port_with_program(struct xdp_md *ctx)
{
	return bpf_redirect_map(&ports_with_programs, 1, 0);
}

SEC("xdp")
int to_cpu(struct xdp_md *ctx)
{
	return bpf_redirect_map(&cpus, 0, 0);
}

SEC("xdp")
int to_queue(struct xdp_md *ctx)
{
	return bpf_redirect_map(&queues, 1, 0);
}

SEC("raw_tp/task_rename")
int renamed(void *ctx)
{
	if (bpf_get_current_pid_tgid() >> 32 == pid)
		stack = bpf_get_stackid(ctx, &stacks, 0);
	return 0;
}

char _license[] SEC("license") = "GPL";
