// SPDX-License-Identifier: Apache-2.0

// Programs about which the verifier has different things to say, as their constants and the
// kernel are.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

struct config {
	int rounds;
	_Bool strict;
};

const volatile struct config config = {.rounds = 4};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4 << 20);
	__type(key, __u32);
	__type(value, __u64);
} flows SEC(".maps");

// What programs of other objects replace.
__attribute__((noinline)) int policy(int mark)
{
	return mark > 10;
}

SEC("socket")
int filter(struct __sk_buff *skb)
{
	__u64 sum = 0;

	for (int i = 0; i < config.rounds && i < 4096; i++) {
		__u32 key = skb->hash + i;
		__u64 *n = bpf_map_lookup_elem(&flows, &key);

		if (n)
			sum += *n;
	}
	return policy(skb->mark) + (sum > 1000);
}

// The verifier leaves this out of a program that is not strict.
SEC("xdp")
int strict(struct xdp_md *ctx)
{
	if (config.strict)
		return *(char *)(long)ctx->data;
	return XDP_PASS;
}

static int add(__u32 i, long *sum)
{
	*sum += i;
	return 0;
}

// Linux 5.17 has the helper.
SEC("socket")
int looped(struct __sk_buff *skb)
{
	long sum = 0;

	bpf_loop(skb->len, add, &sum, 0);
	return sum;
}

SEC("?fentry/no_such_function_of_any_kernel")
int nowhere(void *ctx)
{
	return 0;
}
