//go:build ignore

/* SPDX-License-Identifier: Apache-2.0 */
#include "limit.bpf.h"

const volatile unsigned long long limit = 1;
unsigned long long packets;

int limit_allow(void)
{
	return __sync_fetch_and_add(&packets, 1) < limit;
}
