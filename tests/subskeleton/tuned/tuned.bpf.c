// SPDX-License-Identifier: Apache-2.0

// Has a congestion control of its own in the sections of the library's.

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct sock;

// Other members than the library has, in a type of another flavour.
struct tcp_congestion_ops___own {
	__u32 (*ssthresh)(struct sock *sk);
	__u32 (*undo_cwnd)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	char name[16];
};

__u64 own_acks;

SEC("struct_ops")
__u32 BPF_PROG(own_ssthresh, struct sock *sk)
{
	return 3;
}

SEC("struct_ops")
__u32 BPF_PROG(own_undo_cwnd, struct sock *sk)
{
	return 4;
}

SEC("struct_ops")
void BPF_PROG(own_cong_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
	__atomic_fetch_add(&own_acks, 1, __ATOMIC_RELAXED);
}

SEC(".struct_ops.link")
struct tcp_congestion_ops___own own = {
	.ssthresh = (void *)own_ssthresh,
	.undo_cwnd = (void *)own_undo_cwnd,
	.cong_avoid = (void *)own_cong_avoid,
	.name = "sub_own",
};

SEC("?.struct_ops")
struct tcp_congestion_ops___own own_old = {
	.ssthresh = (void *)own_ssthresh,
	.undo_cwnd = (void *)own_undo_cwnd,
	.cong_avoid = (void *)own_cong_avoid,
	.name = "sub_own_old",
};

char LICENSE[] SEC("license") = "GPL";
