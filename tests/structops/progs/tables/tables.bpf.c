// SPDX-License-Identifier: Apache-2.0

// Congestion controls in every form that a struct_ops map can have. Each counts
// what the kernel calls, so that a test sees which of them a connection uses.

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct sock;

// What is used of the kernel's struct.
struct tcp_sock {
	__u32 snd_cwnd;
} __attribute__((preserve_access_index));

// Some members of the kernel's struct, in another order and at other offsets.
struct tcp_congestion_ops {
	char name[16];
	__u32 flags;
	void (*init)(struct sock *sk);
	__u32 (*ssthresh)(struct sock *sk);
	__u32 (*undo_cwnd)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
};

struct limits {
	__u32 least, most;
};

// A newer version of it, of which no kernel knows all.
struct tcp_congestion_ops___v2 {
	__u32 (*ssthresh)(struct sock *sk);
	__u32 (*undo_cwnd)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	void (*not_yet)(struct sock *sk);
	__u64 budget;
	struct limits limits;
	__u32 rounds[3];
	__u32 strict : 1, level : 4;
	char name[16];
};

struct calls {
	__u64 init, ssthresh, undo_cwnd, cong_avoid;
};

struct calls first_calls, second_calls, third_calls, spare_calls, v2_calls;
__u64 shared_init;

// What the window is set to.
__u32 window = 20;

// Programs for one table: what the kernel calls, and counts in calls.
#define CONTROL(table)                                                        \
	SEC("struct_ops/" #table "_init")                                      \
	void BPF_PROG(table##_init, struct sock *sk)                           \
	{                                                                      \
		__atomic_fetch_add(&table##_calls.init, 1, __ATOMIC_RELAXED);                  \
	}                                                                      \
	CONTROL_WITHOUT_INIT(table)

#define CONTROL_WITHOUT_INIT(table)                                           \
	SEC("struct_ops/" #table "_ssthresh")                                  \
	__u32 BPF_PROG(table##_ssthresh, struct sock *sk)                      \
	{                                                                      \
		__atomic_fetch_add(&table##_calls.ssthresh, 1, __ATOMIC_RELAXED);              \
		return 2;                                                      \
	}                                                                      \
	SEC("struct_ops/" #table "_undo_cwnd")                                 \
	__u32 BPF_PROG(table##_undo_cwnd, struct sock *sk)                     \
	{                                                                      \
		__atomic_fetch_add(&table##_calls.undo_cwnd, 1, __ATOMIC_RELAXED);             \
		return ((struct tcp_sock *)sk)->snd_cwnd;                      \
	}                                                                      \
	SEC("struct_ops/" #table "_cong_avoid")                                \
	void BPF_PROG(table##_cong_avoid, struct sock *sk, __u32 ack, __u32 acked) \
	{                                                                      \
		__atomic_fetch_add(&table##_calls.cong_avoid, 1, __ATOMIC_RELAXED);            \
		((struct tcp_sock *)sk)->snd_cwnd = window;                    \
	}

CONTROL(first)
CONTROL(second)
CONTROL(third)
CONTROL_WITHOUT_INIT(v2)

// In no table: for tests to put there.
SEC("struct_ops")
void BPF_PROG(spare_cong_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
	__atomic_fetch_add(&spare_calls.cong_avoid, 1, __ATOMIC_RELAXED);
	((struct tcp_sock *)sk)->snd_cwnd = window;
}

SEC("struct_ops")
void BPF_PROG(spare_init, struct sock *sk)
{
	__atomic_fetch_add(&shared_init, 1, __ATOMIC_RELAXED);
}

// Of another type.
SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

// Attaches before the tables do.
SEC("?raw_tp/task_rename")
int renamed(void *ctx)
{
	return 0;
}

SEC(".struct_ops.link")
struct tcp_congestion_ops first = {
	.init = (void *)first_init,
	.ssthresh = (void *)first_ssthresh,
	.undo_cwnd = (void *)first_undo_cwnd,
	.cong_avoid = (void *)first_cong_avoid,
	.name = "ops_first",
};

SEC(".struct_ops.link")
struct tcp_congestion_ops second = {
	.init = (void *)second_init,
	.ssthresh = (void *)second_ssthresh,
	.undo_cwnd = (void *)second_undo_cwnd,
	.cong_avoid = (void *)second_cong_avoid,
	.name = "ops_second",
};

SEC(".struct_ops")
struct tcp_congestion_ops third = {
	.init = (void *)third_init,
	.ssthresh = (void *)third_ssthresh,
	.undo_cwnd = (void *)third_undo_cwnd,
	.cong_avoid = (void *)third_cong_avoid,
	.name = "ops_third",
};

SEC("?.struct_ops.link")
struct tcp_congestion_ops___v2 optional = {
	.ssthresh = (void *)v2_ssthresh,
	.undo_cwnd = (void *)v2_undo_cwnd,
	.cong_avoid = (void *)v2_cong_avoid,
	.name = "ops_optional",
};

// The same programs in a table without a link.
SEC("?.struct_ops")
struct tcp_congestion_ops___v2 optional_old = {
	.ssthresh = (void *)v2_ssthresh,
	.undo_cwnd = (void *)v2_undo_cwnd,
	.cong_avoid = (void *)v2_cong_avoid,
	.name = "ops_old",
};

char LICENSE[] SEC("license") = "GPL";
