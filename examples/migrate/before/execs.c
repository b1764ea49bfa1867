//go:build ignore

// SPDX-License-Identifier: Apache-2.0

// Counts the programs that each user executes, and reports each one.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct event {
	__u32 pid;
	__u32 uid;
	char comm[16];
};
struct event *unused_event __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} execs_by_uid SEC(".maps");

// Set before load: report this user's programs only. -1 reports all.
const volatile __s64 only_uid = -1;

// Events that did not fit into the ring buffer.
__u64 lost;

SEC("tracepoint/sched/sched_process_exec")
int on_exec(void *ctx)
{
	__u32 uid = bpf_get_current_uid_gid();
	__u64 one = 1, *count;
	struct event *e;

	if (only_uid >= 0 && uid != only_uid)
		return 0;
	count = bpf_map_lookup_elem(&execs_by_uid, &uid);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&execs_by_uid, &uid, &one, BPF_NOEXIST);
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		__sync_fetch_and_add(&lost, 1);
		return 0;
	}
	e->pid = bpf_get_current_pid_tgid() >> 32;
	e->uid = uid;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	bpf_ringbuf_submit(e, 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
