#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "base.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, int);
	__type(value, int);
	__uint(max_entries, 4);
} shared SEC(".maps");

int base(int x)
{
	return x;
}
