// SPDX-License-Identifier: Apache-2.0

// What libbpf changes before it loads an object: a hidden function, of which the
// verifier must know how it is called, the size of a ring buffer, and where a map
// is pinned.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u64 result;

// On its own it does not pass: the pointer may be null.
__attribute__((visibility("hidden"), noinline)) int set(__u64 *where, __u64 value)
{
	*where = value;
	return 0;
}

SEC("syscall")
int run(void *ctx)
{
	__u64 value = 0;

	set(&value, 42);
	result = value;
	return 0;
}

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1000);
} odd_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} rules_bpf_test_pinned SEC(".maps");

char _license[] SEC("license") = "GPL";
