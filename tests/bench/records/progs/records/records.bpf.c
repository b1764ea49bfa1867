// SPDX-License-Identifier: Apache-2.0
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct event {
	__u32 pid;
	__u32 kind;
	__u64 seq;
	char comm[16];
	char text[32];
};

struct event *unused_event __hidden;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} samples SEC(".maps");

__u64 seq;
__u64 failed;
__u32 burst = 10000;

static long send_record(__u32 i, void *ctx)
{
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e) {
		failed++;
		return 0;
	}
	e->pid = 1;
	e->kind = i;
	e->seq = seq++;
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("socket")
int send_records(void *ctx)
{
	bpf_loop(burst, send_record, NULL, 0);
	return 0;
}

SEC("raw_tp")
int send_samples(void *ctx)
{
	for (__u32 i = 0; i < 256; i++) {
		struct event e = {.pid = 1, .kind = i, .seq = seq++};

		if (bpf_perf_event_output(ctx, &samples, BPF_F_CURRENT_CPU, &e, sizeof(e)))
			failed++;
	}
	return 0;
}
