//go:build ignore

#include "common.h"

#ifdef SMALL
#define ENTRIES 1
#else
#define ENTRIES 64
#endif

struct event {
	__u32 pid;
};

struct event *unused_event __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ENTRIES);
	__type(key, __u32);
	__type(value, struct event);
} events SEC(".maps");

SEC("xdp")
int count(void *ctx)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&events, &key) ? 2 : 1;
}

char LICENSE[] SEC("license") = "GPL";
