/* SPDX-License-Identifier: Apache-2.0 */

/* What the maps of these tests hold. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct stats {
	__u64 packets;
	__u32 last;
	char name[12];
};

static __always_inline void count(struct stats *s)
{
	if (!s)
		return;
	s->packets++;
	s->last = 7;
	s->name[0] = 'c';
}

/* Storage of one of the kernel's objects. */
#define STORAGE(name, kind)                                                                                            \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_##kind##_STORAGE);                                                           \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                                                  \
		__type(key, int);                                                                                      \
		__type(value, struct stats);                                                                           \
	} name SEC(".maps")
