// SPDX-License-Identifier: Apache-2.0

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "tests/subskeleton/pool/pool.bpf.h"

unsigned long long __arena app_slot = 20;

SEC("syscall")
int spaced_take(void *ctx)
{
	return pool_take();
}

char LICENSE[] SEC("license") = "GPL";
