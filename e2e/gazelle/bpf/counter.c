#include "vmlinux.h"
#include "bpf_helpers.h"
#include "events.h"

#ifndef __VMLINUX_H__
#error "vmlinux.h is not the one of the repository"
#endif

SEC("raw_tracepoint/sched_process_exec")
int count(void *ctx)
{
	__u32 key = 0;
	struct event *event = bpf_map_lookup_elem(&events, &key);

	if (event)
		__sync_fetch_and_add(&event->times, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
