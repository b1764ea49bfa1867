//go:build ignore

// SPDX-License-Identifier: Apache-2.0

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "sizes.h"

struct event {
	__u32 tgid;
	__u32 leader;
};
struct event *unused_event __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ENTRIES);
	__type(key, __u32);
	__type(value, struct traffic);
} by_size SEC(".maps");

const volatile __u32 min_bytes = 1;
__u64 small;

SEC("xdp")
int count_packets(struct xdp_md *ctx)
{
	__u32 size = ctx->data_end - ctx->data;
	struct traffic *seen, first = {1, size};

	if (size < min_bytes) {
		__sync_fetch_and_add(&small, 1);
		return XDP_DROP;
	}
	seen = bpf_map_lookup_elem(&by_size, &size);
	if (seen) {
		__sync_fetch_and_add(&seen->packets, 1);
		__sync_fetch_and_add(&seen->bytes, size);
	} else {
		bpf_map_update_elem(&by_size, &size, &first, 0);
	}
	return XDP_PASS;
}

SEC("raw_tracepoint/task_newtask")
int report(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e)
		return 0;
	e->tgid = BPF_CORE_READ(task, tgid);
	e->leader = BPF_CORE_READ(task, group_leader, pid);
	bpf_ringbuf_submit(e, 0);
	return 0;
}

char __license[] SEC("license") = "Dual BSD/GPL";
