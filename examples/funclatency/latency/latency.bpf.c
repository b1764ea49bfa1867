// SPDX-License-Identifier: Apache-2.0

// Measures how long a function of the kernel takes, per process. Which function
// that is, user space says before load.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct process {
	char comm[16];
	__u64 calls;
	__u64 total_ns;
	__u64 max_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32); // thread
	__type(value, __u64); // nanoseconds since boot
} started SEC(".maps");

// Per CPU, so that programs count without locks.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32); // process
	__type(value, struct process);
} processes SEC(".maps");

// Set before load: look at one process only. 0 looks at all.
const volatile __u32 only_pid = 0;

// Calls of processes for which the map had no space.
__u64 lost;

SEC("fentry")
int on_entry(void *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns();
	__u32 tid = id;

	if (!only_pid || id >> 32 == only_pid)
		bpf_map_update_elem(&started, &tid, &now, BPF_ANY);
	return 0;
}

SEC("fexit")
int on_exit(void *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), *since, took;
	__u32 tid = id, pid = id >> 32;
	struct process *p;

	since = bpf_map_lookup_elem(&started, &tid);
	if (!since)
		return 0;
	took = bpf_ktime_get_ns() - *since;
	bpf_map_delete_elem(&started, &tid);

	p = bpf_map_lookup_elem(&processes, &pid);
	if (!p) {
		struct process none = {};

		bpf_get_current_comm(&none.comm, sizeof(none.comm));
		bpf_map_update_elem(&processes, &pid, &none, BPF_NOEXIST);
		p = bpf_map_lookup_elem(&processes, &pid);
		if (!p) {
			// Relaxed: the instruction that kernels before 5.12 have as well.
			__atomic_fetch_add(&lost, 1, __ATOMIC_RELAXED);
			return 0;
		}
	}
	p->calls++;
	p->total_ns += took;
	if (took > p->max_ns)
		p->max_ns = took;
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
