// SPDX-License-Identifier: Apache-2.0

// A map of each kind that has keys and values. The program doubles in each of them
// what it finds under the key, and keeps how often it has done so.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct key {
	__u32 id;
	__u16 port;
	__u16 zero;
};

struct stats {
	__u64 packets;
	__u64 bytes;
	char name[8];
	_Bool seen;
};

struct prefix {
	__u32 bits;
	__u8 address[4];
};

struct event {
	__u64 sequence;
	struct key key;
	char text[8];
};

// So that BTF has the type.
struct event *unused __hidden;

#define KEYED(name, kind, key_type, flags)                                                                             \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_##kind);                                                                     \
		__uint(max_entries, 4);                                                                                \
		__uint(map_flags, flags);                                                                              \
		__type(key, key_type);                                                                                 \
		__type(value, struct stats);                                                                           \
	} name SEC(".maps")

KEYED(hash, HASH, struct key, 0);
KEYED(lru, LRU_HASH, struct key, 0);
KEYED(array, ARRAY, __u32, 0);
KEYED(trie, LPM_TRIE, struct prefix, BPF_F_NO_PREALLOC);
KEYED(cpu_hash, PERCPU_HASH, struct key, 0);
KEYED(cpu_lru, LRU_PERCPU_HASH, struct key, 0);
KEYED(cpu_array, PERCPU_ARRAY, __u32, 0);

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 4);
	__type(value, struct stats);
} queue SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 4);
	__type(value, struct stats);
} stack SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct stats);
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, struct key);
	__array(values, struct inner);
} of_maps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(int));
	__uint(value_size, sizeof(int));
} perf_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} tail_calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} only_sizes SEC(".maps");

__u64 doubled;

static __always_inline void twice(struct stats *s)
{
	if (!s)
		return;
	s->packets *= 2;
	s->bytes *= 2;
	s->name[0]++;
	s->seen = 1;
	doubled++;
}

SEC("xdp")
int run(struct xdp_md *ctx)
{
	struct key key = { .id = 42, .port = 80 };
	struct prefix address = { .bits = 32, .address = { 10, 1, 2, 3 } };
	struct stats made = { .packets = 1, .bytes = 100, .name = "made" };
	__u32 index = 1, first = 0;
	void *inner;

	twice(bpf_map_lookup_elem(&hash, &key));
	twice(bpf_map_lookup_elem(&lru, &key));
	twice(bpf_map_lookup_elem(&array, &index));
	twice(bpf_map_lookup_elem(&trie, &address));
	twice(bpf_map_lookup_elem(&cpu_hash, &key));
	twice(bpf_map_lookup_elem(&cpu_lru, &key));
	twice(bpf_map_lookup_elem(&cpu_array, &index));
	inner = bpf_map_lookup_elem(&of_maps, &key);
	if (inner)
		twice(bpf_map_lookup_elem(inner, &first));

	key.id = 43;
	bpf_map_update_elem(&hash, &key, &made, BPF_ANY);
	bpf_map_update_elem(&cpu_hash, &key, &made, BPF_ANY);
	bpf_map_push_elem(&queue, &made, BPF_ANY);
	bpf_map_push_elem(&stack, &made, BPF_ANY);
	return XDP_PASS;
}

SEC("xdp")
int take(struct xdp_md *ctx)
{
	struct stats s;

	if (bpf_map_pop_elem(&queue, &s) || s.packets != 7 || s.name[0] != 'q')
		return 1;
	if (bpf_map_pop_elem(&stack, &s) || s.packets != 8 || s.name[0] != 's')
		return 2;
	return 0;
}

SEC("xdp")
int send(struct xdp_md *ctx)
{
	struct event e = { .sequence = 5, .key = { .id = 6, .port = 7 }, .text = "perf" };
	struct event *r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);

	if (!r)
		return 1;
	*r = e;
	r->text[0] = 'r';
	bpf_ringbuf_submit(r, 0);
	return bpf_perf_event_output(ctx, &perf_events, BPF_F_CURRENT_CPU, &e, sizeof(e));
}

char _license[] SEC("license") = "GPL";
