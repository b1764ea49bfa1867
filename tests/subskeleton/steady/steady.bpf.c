// SPDX-License-Identifier: Apache-2.0

// A TCP congestion control whose window does not change, in tables of both kinds.

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct sock;

// What is used of the kernel's structs.
struct tcp_sock {
	__u32 snd_cwnd;
} __attribute__((preserve_access_index));

struct tcp_congestion_ops {
	char name[16];
	__u32 flags;
	void (*init)(struct sock *sk);
	__u32 (*ssthresh)(struct sock *sk);
	__u32 (*undo_cwnd)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
};

__u32 steady_window = 20;
__u64 steady_inits, steady_acks, steady_spare_acks;

SEC("struct_ops")
void BPF_PROG(steady_init, struct sock *sk)
{
	__atomic_fetch_add(&steady_inits, 1, __ATOMIC_RELAXED);
}

SEC("struct_ops")
__u32 BPF_PROG(steady_ssthresh, struct sock *sk)
{
	return 2;
}

SEC("struct_ops")
__u32 BPF_PROG(steady_undo_cwnd, struct sock *sk)
{
	return ((struct tcp_sock *)sk)->snd_cwnd;
}

SEC("struct_ops")
void BPF_PROG(steady_cong_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
	__atomic_fetch_add(&steady_acks, 1, __ATOMIC_RELAXED);
	((struct tcp_sock *)sk)->snd_cwnd = steady_window;
}

// In no table: for user space to put there.
SEC("struct_ops")
void BPF_PROG(steady_spare, struct sock *sk, __u32 ack, __u32 acked)
{
	__atomic_fetch_add(&steady_spare_acks, 1, __ATOMIC_RELAXED);
	((struct tcp_sock *)sk)->snd_cwnd = steady_window;
}

SEC(".struct_ops.link")
struct tcp_congestion_ops steady = {
	.init = (void *)steady_init,
	.ssthresh = (void *)steady_ssthresh,
	.undo_cwnd = (void *)steady_undo_cwnd,
	.cong_avoid = (void *)steady_cong_avoid,
	.name = "sub_steady",
};

SEC("?.struct_ops")
struct tcp_congestion_ops steady_old = {
	.ssthresh = (void *)steady_ssthresh,
	.undo_cwnd = (void *)steady_undo_cwnd,
	.cong_avoid = (void *)steady_cong_avoid,
	.name = "sub_steady_old",
};

SEC("?.struct_ops.link")
struct tcp_congestion_ops steady_internal __hidden = {
	.ssthresh = (void *)steady_ssthresh,
	.undo_cwnd = (void *)steady_undo_cwnd,
	.cong_avoid = (void *)steady_cong_avoid,
	.name = "sub_internal",
};

char LICENSE[] SEC("license") = "GPL";
