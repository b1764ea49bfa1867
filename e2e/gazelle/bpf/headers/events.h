#pragma once

#ifndef ENTRIES
#define ENTRIES 64
#endif

struct event {
	__u64 times;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ENTRIES);
	__type(key, __u32);
	__type(value, struct event);
} events SEC(".maps");
