// SPDX-License-Identifier: Apache-2.0

// A table with a value for a member that only a module of the kernel may set.

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct sock;
struct module;

struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	__u32 (*undo_cwnd)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	char name[16];
	struct module *owner;
};

SEC("struct_ops")
__u32 ssthresh(unsigned long long *ctx)
{
	return 2;
}

SEC("struct_ops")
__u32 undo_cwnd(unsigned long long *ctx)
{
	return 2;
}

SEC("struct_ops")
void cong_avoid(unsigned long long *ctx)
{
}

SEC(".struct_ops")
struct tcp_congestion_ops owned = {
	.ssthresh = (void *)ssthresh,
	.undo_cwnd = (void *)undo_cwnd,
	.cong_avoid = (void *)cong_avoid,
	.name = "owned",
	.owner = (void *)5,
};

char LICENSE[] SEC("license") = "GPL";
