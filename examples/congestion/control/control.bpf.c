// SPDX-License-Identifier: Apache-2.0

// A TCP congestion control. Which functions it consists of, its name and its flags
// are set in Go before it is loaded; what the functions use are global variables.

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

// Segments by which the window grows per round trip, and the percentage of it that
// is left after a loss.
const volatile __u32 increase = 1;
const volatile __u32 keep_percent = 50;

// The window of connections whose window does not grow. It may be changed while
// they run.
__u32 window = 16;

struct counters {
	__u64 connections;
	__u64 acks;
	__u64 losses;
	__u32 largest_window;
};

struct counters counters;

static void set_window(struct tcp_sock *tp, __u32 segments)
{
	tp->snd_cwnd = segments;
	if (segments > counters.largest_window)
		counters.largest_window = segments;
}

SEC("struct_ops")
void BPF_PROG(start, struct sock *sk)
{
	__atomic_fetch_add(&counters.connections, 1, __ATOMIC_RELAXED);
}

// What the window shrinks to when a packet was lost.
SEC("struct_ops")
__u32 BPF_PROG(after_loss, struct sock *sk)
{
	__u32 left = ((struct tcp_sock *)sk)->snd_cwnd * keep_percent / 100;

	__atomic_fetch_add(&counters.losses, 1, __ATOMIC_RELAXED);
	return left < 2 ? 2 : left;
}

SEC("struct_ops")
__u32 BPF_PROG(no_loss_after_all, struct sock *sk)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;

	return tp->snd_cwnd > tp->prior_cwnd ? tp->snd_cwnd : tp->prior_cwnd;
}

// One of the two that follow is called for each acknowledgement. The table has the
// first, unless Go puts the other there.

SEC("struct_ops")
void BPF_PROG(grow, struct sock *sk, __u32 ack, __u32 acked)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	__u32 count;

	__atomic_fetch_add(&counters.acks, 1, __ATOMIC_RELAXED);
	if (tp->snd_cwnd < tp->snd_ssthresh) {
		set_window(tp, tp->snd_cwnd + acked);
		return;
	}
	count = tp->snd_cwnd_cnt + acked;
	if (count >= tp->snd_cwnd) {
		count = 0;
		set_window(tp, tp->snd_cwnd + increase);
	}
	tp->snd_cwnd_cnt = count;
}

SEC("struct_ops")
void BPF_PROG(keep, struct sock *sk, __u32 ack, __u32 acked)
{
	__atomic_fetch_add(&counters.acks, 1, __ATOMIC_RELAXED);
	set_window((struct tcp_sock *)sk, window);
}

SEC(".struct_ops.link")
struct tcp_congestion_ops control = {
	.init = (void *)start,
	.ssthresh = (void *)after_loss,
	.undo_cwnd = (void *)no_loss_after_all,
	.cong_avoid = (void *)grow,
	.name = "example",
};

char LICENSE[] SEC("license") = "GPL";
