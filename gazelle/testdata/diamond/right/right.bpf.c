#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, int);
	__type(value, int);
	__uint(max_entries, 4);
} shared SEC(".maps");

int right(int x)
{
	return bpf_map_lookup_elem(&shared, &x) != 0;
}
