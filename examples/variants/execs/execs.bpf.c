// SPDX-License-Identifier: Apache-2.0

// Tells user space of each exec: through a ring buffer where the kernel has them (Linux 5.8),
// with the cgroup, and through a perf event array on older kernels.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct event {
	__u32 pid;
	__u32 uid;
	char comm[16];
#ifdef RINGBUF
	__u64 cgroup;
#endif
};

__u64 execs;
#ifdef RINGBUF
// Events for which the ring buffer had no room.
__u64 lost;
#endif

struct {
#ifdef RINGBUF
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
	__type(value, struct event);
#else
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__type(key, __u32);
	__type(value, struct event);
#endif
} events SEC(".maps");

static void fill(struct event *e)
{
	e->pid = bpf_get_current_pid_tgid() >> 32;
	e->uid = bpf_get_current_uid_gid();
	bpf_get_current_comm(e->comm, sizeof(e->comm));
}

SEC("tp/sched/sched_process_exec")
int on_exec(void *ctx)
{
	// Of relaxed order, which kernels before 5.12 have.
	__atomic_fetch_add(&execs, 1, __ATOMIC_RELAXED);
#ifdef RINGBUF
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e) {
		__atomic_fetch_add(&lost, 1, __ATOMIC_RELAXED);
		return 0;
	}
	fill(e);
	e->cgroup = bpf_get_current_cgroup_id();
	bpf_ringbuf_submit(e, 0);
#else
	struct event e = {};

	fill(&e);
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &e, sizeof(e));
#endif
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
