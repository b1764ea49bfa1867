// SPDX-License-Identifier: Apache-2.0

// Only compiles when the header of types.bpf.c has the types of types.bpf.c.

#include "vmlinux.h"

#define SIZE(type, size) _Static_assert(sizeof(type) == size, #type)
#define OFFSET(type, member, offset) _Static_assert(__builtin_offsetof(type, member) == offset, #type "." #member)

SIZE(struct first, 16);
OFFSET(struct first, l, 8);
SIZE(struct packed, 21);
OFFSET(struct packed, i, 1);
OFFSET(struct packed, f, 5);
SIZE(struct bits, 16);
SIZE(struct aligned, 128);
OFFSET(struct aligned, i, 64);
OFFSET(struct aligned, p, 72);
OFFSET(struct aligned, s, 72);
SIZE(enum sized, 8);
_Static_assert(LARGE == 1LL << 40, "LARGE");
_Static_assert(SMALL == -1, "SMALL");
SIZE(((struct all *)0)->functions, 24);

struct all again __attribute__((visibility("hidden")));
char LICENSE[] __attribute__((section("license"))) = "GPL";
