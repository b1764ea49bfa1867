// SPDX-License-Identifier: Apache-2.0

// What is used while a skeleton loads and closes: maps, a ring buffer, variables that
// no program writes, and a program that runs all the time.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

const volatile __u32 pid = 0;
const volatile __u64 step = 1;

__u64 calls;

// For user space alone.
__u64 added;
__u32 added32 = 7;
__u64 added_data = 4096;
__u64 stored = 1;
__u16 small = 2;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 128);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(int));
	__uint(value_size, sizeof(int));
} samples SEC(".maps");

SEC("raw_tp/sys_enter")
int on_enter(void *ctx)
{
	__u64 *event;

	if (pid && bpf_get_current_pid_tgid() >> 32 != pid)
		return 0;
	__atomic_fetch_add(&calls, step, __ATOMIC_RELAXED);
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (event) {
		*event = calls;
		bpf_ringbuf_submit(event, 0);
	}
	return 0;
}

SEC("?socket")
int filter(struct __sk_buff *skb)
{
	__atomic_fetch_add(&calls, step, __ATOMIC_RELAXED);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
