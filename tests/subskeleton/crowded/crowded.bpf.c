// SPDX-License-Identifier: Apache-2.0

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "tests/subskeleton/limiter/limiter.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, unsigned int);
	__type(value, unsigned long long);
} app_counts SEC(".maps");

/* Variables that move those of the library to other offsets. */
unsigned long long before[9];
unsigned long long crowd[3] = {1, 2, 3};
const volatile int crowded_limit = 9;
int app_id = 100;
int app_extra = 1000;

/* Stronger than the library's. */
int limiter_mode = 2;

/* Another variable than the library's of that name. */
static volatile int private_shown = 11;
int crowded_private;

/* The library asks for the second one too, at another offset. */
extern unsigned long long CONFIG_NONE __kconfig __weak;
extern int LINUX_KERNEL_VERSION __kconfig;

SEC("xdp")
int crowded_filter(struct xdp_md *ctx)
{
	crowded_private = private_shown;
	before[8] = crowded_limit + CONFIG_NONE;
	if (LINUX_KERNEL_VERSION == 0)
		return 0;
	private_shown++;
	return limiter_allow(app_id) + crowd[1];
}

char LICENSE[] SEC("license") = "GPL";
