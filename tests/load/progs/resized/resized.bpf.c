// SPDX-License-Identifier: Apache-2.0

// An array whose length user space decides before the load.

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define MOST 1000

const volatile __u32 count = 1;

__u64 values[1] SEC(".data.values") = { 7 };

struct pair {
	__u32 first;
	__u8 second;
};

__u32 before = 5;
struct pair pairs[2] = { { 1, 2 }, { 3, 4 } };

__u64 sum, of_pairs;

SEC("socket")
int add(void *ctx)
{
	__u64 *value = values;
	struct pair *pair = pairs;

	/* The compiler must not conclude from the declarations that there is no more. */
	asm volatile("" : "+r"(value));
	asm volatile("" : "+r"(pair));
	sum = of_pairs = 0;
	for (__u32 i = 0; i < count && i < MOST; i++) {
		sum += value[i];
		value[i]++;
	}
	for (__u32 i = 0; i < count + 1 && i < MOST; i++)
		of_pairs += pair[i].first * pair[i].second;
	return before;
}

char _license[] SEC("license") = "GPL";
