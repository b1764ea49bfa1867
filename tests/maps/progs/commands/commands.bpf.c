// SPDX-License-Identifier: Apache-2.0

// Ring buffers that user space writes to are in Linux since 6.1.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct command {
	__u32 id;
	__u64 value;
};

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 4096);
} commands SEC(".maps");

// So that BTF has the type.
struct command *unused __hidden;

__u64 sum;
// The last byte of the last record with a tail: it has id 1000, and value is the tail's length.
__u8 last;

static long execute(struct bpf_dynptr *record, void *ctx)
{
	struct command c;

	if (bpf_dynptr_read(&c, sizeof(c), record, 0, 0))
		return 1;
	if (c.id == 1000)
		return bpf_dynptr_read(&last, 1, record, sizeof(c) + c.value - 1, 0) != 0;
	sum += c.id * c.value;
	return 0;
}

SEC("xdp")
int drain(struct xdp_md *ctx)
{
	return bpf_user_ringbuf_drain(&commands, execute, 0, 0);
}

char LICENSE[] SEC("license") = "GPL";
