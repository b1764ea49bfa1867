// SPDX-License-Identifier: Apache-2.0

// A global function whose parameter is the context of three types of programs. Kernels
// before 6.8 do not know the tag.

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(int));
	__uint(value_size, sizeof(int));
} events SEC(".maps");

int traced;

__noinline int report(int before, void *ctx __arg_ctx, int result)
{
	__u64 event = before;

	/* Nobody reads them: ENOENT. */
	return bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event)) == -2 ? result : 0;
}

SEC("tc")
int classify(void *ctx)
{
	return report(1, ctx, 7);
}

SEC("xdp")
int filter(void *ctx)
{
	return report(2, ctx, 3);
}

SEC("raw_tp/sys_enter")
int trace(void *ctx)
{
	traced = report(3, ctx, 5);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
