// SPDX-License-Identifier: Apache-2.0

// Sends an event to user space for every process that ends.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "examples/lifetimes/lifetimes/lifetimes.bpf.h"

struct event {
	__u32 pid;
	__u32 ticks;
	__u64 nsec;
	char comm[16];
};

// BTF has a type when a global variable or a map uses it.
struct event *unused_event __hidden;

// The library reads the setting too: there is one copy for both.
extern unsigned int CONFIG_HZ __kconfig;

// In the same section as the library's setting.
SEC(".data.config") __u64 report_at_most = 1000;

__u64 reported;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} events SEC(".maps");

// In the place of the library's own, which does nothing.
int lifetimes_ended(__u32 pid, __u64 nsec)
{
	struct event *e;

	// Processes that end at the same instant on two CPUs may both be the last: user
	// space counts too.
	if (reported >= report_at_most)
		return 0;
	__atomic_fetch_add(&reported, 1, __ATOMIC_RELAXED);
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e)
		return 0;
	e->pid = pid;
	e->ticks = nsec / (1000000000ULL / CONFIG_HZ);
	e->nsec = nsec;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	bpf_ringbuf_submit(e, 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
