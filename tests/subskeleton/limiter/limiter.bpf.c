// SPDX-License-Identifier: Apache-2.0

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "limiter.bpf.h"

struct usage {
	unsigned long long allowed;
	unsigned long long refused;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, unsigned int);
	__type(value, struct usage);
} limiter_usage SEC(".maps");

/* The application's own map. */
extern struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, unsigned int);
	__type(value, unsigned long long);
} app_counts SEC(".maps");

/* The application's own variables, the second only in some applications. */
extern int app_id;
extern int app_extra __weak;

const volatile struct limit limiter_default = {.per_second = 2, .burst = 1};
struct limit limiter_limit = {.per_second = 3, .burst = 4};
int limiter_calls;
unsigned long long limiter_history[8];
unsigned int limiter_custom SEC(".data.limiter") = 5;
/* No kernel maps a section with a lock in it into user space. */
struct bpf_spin_lock limiter_lock SEC(".data.locked");
int limiter_rounds SEC(".data.locked") = 3;
int limiter_mode __weak = 1;
int (*limiter_hook)(int);
void *limiter_cookie;
int limiter_internal __hidden = 6;
static volatile int private_count = 22;
int private_shown = 7;

extern int LINUX_KERNEL_VERSION __kconfig;

int limiter_allow(unsigned int key)
{
	unsigned int n = limiter_calls++;
	struct usage *u, first = {};

	limiter_history[n & 7] = key;
	private_count += limiter_internal;
	private_shown = private_count;
	limiter_custom += app_id;
	if (limiter_mode && LINUX_KERNEL_VERSION == 0)
		return 0;
	limiter_rounds++;
	if (&app_extra)
		limiter_custom += app_extra;
	u = bpf_map_lookup_elem(&limiter_usage, &key);
	if (!u) {
		bpf_map_update_elem(&limiter_usage, &key, &first, BPF_ANY);
		u = bpf_map_lookup_elem(&limiter_usage, &key);
		if (!u)
			return 0;
	}
	if (u->allowed >= limiter_limit.per_second + limiter_default.burst) {
		u->refused++;
		return 0;
	}
	u->allowed++;
	return 1;
}

SEC("raw_tp/sys_enter")
int limiter_watch(void *ctx)
{
	unsigned int key = 1;
	unsigned long long *n = bpf_map_lookup_elem(&app_counts, &key);

	if (n)
		__atomic_fetch_add(n, 1, __ATOMIC_RELAXED);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
