// SPDX-License-Identifier: Apache-2.0

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "limiter.bpf.h"

#define NSEC_PER_SEC 1000000000ULL

struct limiter_rate {
	__u64 per_second; // tokens that a source gets; 0 is no limit
	__u64 burst;	  // tokens that it can save
};

// User space changes it at any time.
struct limiter_rate limiter_rate = { .per_second = 100, .burst = 10 };

__u64 limiter_allowed;
__u64 limiter_denied;

// When the tokens of a source are full again, in nanoseconds since boot. Two packets
// at the same instant on two CPUs may both take the last token.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u64);
} limiter_full SEC(".maps");

__weak int limiter_cost(__u32 bytes)
{
	return 1;
}

// The source's tokens, as the time at which they are full again.
static int take(__u32 source, __u64 cost, __u64 rate, __u64 burst)
{
	__u64 now = bpf_ktime_get_ns(), full = now, *saved;
	__u64 interval = NSEC_PER_SEC / rate;

	saved = bpf_map_lookup_elem(&limiter_full, &source);
	if (saved && *saved > now)
		full = *saved;
	full += cost * interval;
	if (full - now > burst * interval)
		return 0;
	bpf_map_update_elem(&limiter_full, &source, &full, BPF_ANY);
	return 1;
}

int limiter_allow(__u32 source, __u32 bytes)
{
	__u64 rate = limiter_rate.per_second;

	if (rate && !take(source, limiter_cost(bytes), rate, limiter_rate.burst)) {
		__atomic_fetch_add(&limiter_denied, 1, __ATOMIC_RELAXED);
		return 0;
	}
	__atomic_fetch_add(&limiter_allowed, 1, __ATOMIC_RELAXED);
	return 1;
}
