// SPDX-License-Identifier: Apache-2.0

// Many programs that attach, for what must not be left behind. The tracepoint is
// one that nothing but the test passes often: patching one in and out that every
// CPU passes all the time upsets QEMU's emulation.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u64 hits;

const volatile __u64 step = 1;

// Relaxed, so that it is the instruction that every kernel has: those that return
// the old value came with 5.12.
#define PROGRAM(name) \
	SEC("raw_tp/task_rename") \
	int name(void *ctx) \
	{ \
		__atomic_fetch_add(&hits, step, __ATOMIC_RELAXED); \
		return 0; \
	}

PROGRAM(p0)
PROGRAM(p1)
PROGRAM(p2)
PROGRAM(p3)
PROGRAM(p4)
PROGRAM(p5)
PROGRAM(p6)
PROGRAM(p7)
PROGRAM(p8)
PROGRAM(p9)
PROGRAM(p10)
PROGRAM(p11)

char LICENSE[] SEC("license") = "Dual BSD/GPL";
