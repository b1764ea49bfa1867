// SPDX-License-Identifier: Apache-2.0

// Variables in an arena, which is the application's or another library's. Clang
// knows these since version 19.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "pool.bpf.h"

unsigned long long __arena pool_taken = 5;
struct pool_entry __arena pool_first = {1, 2};
unsigned int __arena pool_list[4];
static unsigned int __arena not_shown = 7;

unsigned long long pool_taken_at, pool_list_at, app_slot_at, pool_calls;

/* Only takes addresses: those that user space has. */
SEC("syscall")
int pool_addresses(void *ctx)
{
	pool_taken_at = (unsigned long long)&pool_taken;
	pool_list_at = (unsigned long long)&pool_list;
	app_slot_at = (unsigned long long)&app_slot;
	return 0;
}

/* Goes to the memory. */
int pool_take(void)
{
	pool_calls++;
	pool_taken += not_shown++;
	pool_first.value = pool_taken;
	pool_list[3] = 4;
	app_slot++;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
