// SPDX-License-Identifier: Apache-2.0

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "lifetimes.bpf.h"

#define NSEC_PER_SEC 1000000000ULL

// The kernel's clock ticks so often per second.
extern unsigned int CONFIG_HZ __kconfig;

// Processes that end earlier, counted from their last exec, are left out. User space changes it at any time.
SEC(".data.config") __u64 lifetimes_min_nsec;

__u64 lifetimes_count;
__u64 lifetimes_longest_nsec;

// Of those, the ones that lived less than a tick of the clock.
__u64 lifetimes_within_tick;

// When processes started, in nanoseconds since boot.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, __u64);
} lifetimes_started SEC(".maps");

__weak int lifetimes_ended(__u32 pid, __u64 nsec)
{
	return 0;
}

SEC("raw_tp/sched_process_exec")
int lifetimes_exec(void *ctx)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	__u64 now = bpf_ktime_get_ns();

	bpf_map_update_elem(&lifetimes_started, &pid, &now, BPF_ANY);
	return 0;
}

SEC("raw_tp/sched_process_exit")
int lifetimes_exit(void *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), *started, nsec;
	__u32 pid = id >> 32;

	// Of a process's threads, the one with its number.
	if (pid != (__u32)id)
		return 0;
	started = bpf_map_lookup_elem(&lifetimes_started, &pid);
	if (!started)
		return 0;
	nsec = bpf_ktime_get_ns() - *started;
	bpf_map_delete_elem(&lifetimes_started, &pid);
	if (nsec < lifetimes_min_nsec)
		return 0;
	__atomic_fetch_add(&lifetimes_count, 1, __ATOMIC_RELAXED);
	if (nsec < NSEC_PER_SEC / CONFIG_HZ)
		__atomic_fetch_add(&lifetimes_within_tick, 1, __ATOMIC_RELAXED);
	if (nsec > lifetimes_longest_nsec)
		lifetimes_longest_nsec = nsec;
	lifetimes_ended(pid, nsec);
	return 0;
}
