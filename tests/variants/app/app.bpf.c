// SPDX-License-Identifier: Apache-2.0

// One source whose variants differ in all that can differ: ALTERED has other variables, maps
// and programs, in another order, and other types.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "tests/subskeleton/limiter/limiter.bpf.h"

struct state {
	unsigned int runs;
#ifdef ALTERED
	unsigned long long last_key;
#endif
};

#ifdef ALTERED
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, unsigned int);
	__type(value, unsigned int);
} altered_only SEC(".maps");
#endif

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, unsigned int);
	__type(value, struct state);
} states SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, unsigned int);
	__type(value, unsigned long long);
} app_counts SEC(".maps");

const volatile unsigned int step = 1;
#ifdef ALTERED
unsigned long long altered_first;
int app_extra = 1000;
/* In a section that only this variant has. */
unsigned int altered_steps SEC(".data.altered") = 7;
#endif
unsigned long long total;
struct state latest;
/* The same in all variants. */
unsigned int fixed SEC(".data.fixed") = 3;

int app_id = 10;

extern int LINUX_KERNEL_VERSION __kconfig;
#ifdef ALTERED
extern _Bool CONFIG_BPF __kconfig __weak;
#endif

static int run(unsigned int key)
{
	unsigned int zero = 0;
	struct state *s = bpf_map_lookup_elem(&states, &zero);

	if (!s || !LINUX_KERNEL_VERSION)
		return -1;
	s->runs++;
	total += step + fixed;
#ifdef ALTERED
	s->last_key = key;
	altered_first += altered_steps + CONFIG_BPF;
	bpf_map_update_elem(&altered_only, &key, &zero, BPF_ANY);
#endif
	latest = *s;
	return limiter_allow(key);
}

#ifdef ALTERED
SEC("xdp")
int altered_filter(struct xdp_md *ctx)
{
	return run(2);
}
#endif

SEC("xdp")
int filter(struct xdp_md *ctx)
{
	return run(1);
}

#ifdef ALTERED
SEC("tc")
#else
SEC("socket")
#endif
int on_packet(struct __sk_buff *skb)
{
	total++;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
