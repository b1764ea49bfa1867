// SPDX-License-Identifier: Apache-2.0

// Programs that say nothing themselves of what they are for.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

struct sock;

struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
};

// The object has the type, and no table of it.
const struct tcp_congestion_ops *unused;

SEC("freplace")
int policy_v2(int mark)
{
	return mark > 20;
}

SEC("struct_ops")
__u32 threshold(unsigned long long *ctx)
{
	return 2;
}

SEC("fexit")
int on_exit(void *ctx)
{
	return 0;
}

SEC("own/hook")
int hook(void *ctx)
{
	return 0;
}
