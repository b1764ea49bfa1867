// SPDX-License-Identifier: Apache-2.0

// Every kind of value that has one name in C.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

typedef __u32 session_id_t;
typedef session_id_t sessions_t[2];
typedef char name_t[8];

enum tiny {
	TINY_MIN = -128,
	TINY_MAX = 127,
} __attribute__((packed));

enum narrow {
	NARROW_ONE = 1,
	NARROW_MAX = 0xffff,
} __attribute__((packed));

enum sign {
	SIGN_MINUS = -1,
	SIGN_PLUS = 1,
};

enum huge {
	HUGE_ONE = 1,
	HUGE_MAX = 0xffffffffffffffff,
};

enum deep {
	DEEP_MIN = -0x7fffffffffffffff,
	DEEP_ZERO = 0,
};

_Bool flag;
char letter;
__s8 s8;
__u8 u8;
__s16 s16;
__u16 u16;
__s32 s32;
__u32 u32;
__s64 s64;
__u64 u64;
__int128 s128;
unsigned __int128 u128;
session_id_t session;
sessions_t sessions;
name_t name;
char lines[2][4];
__s32 matrix[2][3];
enum tiny tiny;
enum narrow narrow;
enum sign sign;
enum huge huge;
enum deep deep;
void *pointer;
int (*function)(void *);
struct sk_buff *buffers[2];

struct guarded {
	struct bpf_spin_lock lock;
	__u32 count;
	struct bpf_timer timer;
	__u8 last;
};

// Sections with one of these are not mapped.
struct guarded guarded SEC(".data.guarded") = { .count = 7, .last = 9 };

#define WIDE(high, low) ((unsigned __int128)(high) << 64 | (low))

#define FIELDS(F) \
	F(flag, 1, 0) \
	F(letter, 'c', 'g') \
	F(s8, -1, 101) \
	F(u8, 255, 2) \
	F(s16, -300, 3000) \
	F(u16, 65535, 4) \
	F(s32, -500000, 5000000) \
	F(u32, 0xffffffff, 6) \
	F(s64, -7000000000, 70000000000) \
	F(u64, 0xffffffffffffffff, 8) \
	F(s128, -9, (__int128)WIDE(-10, 11)) \
	F(u128, WIDE(12, 13), WIDE(14, 15)) \
	F(session, 16, 160) \
	F(sessions[1], 17, 170) \
	F(name[0], 'c', 'g') \
	F(name[1], 0, 'o') \
	F(name[2], 0, 0) \
	F(lines[1][3], 'c', 'g') \
	F(matrix[1][2], -18, 180) \
	F(tiny, TINY_MIN, TINY_MAX) \
	F(narrow, NARROW_MAX, NARROW_ONE) \
	F(sign, SIGN_MINUS, SIGN_PLUS) \
	F(huge, HUGE_MAX, HUGE_ONE) \
	F(deep, DEEP_MIN, DEEP_ZERO) \
	F(pointer, (void *)0xffff888011111111, (void *)0xffff888022222222) \
	F(function, (void *)0xffffffff81000000, (void *)0xffffffff82000000) \
	F(buffers[1], (void *)0xffff888033333333, (void *)0xffff888044444444)

SEC("xdp")
int write(struct xdp_md *ctx)
{
#define WRITE(field, c, go) field = c;
	FIELDS(WRITE)
	return 0;
}

// Returns which field does not have the value that Go is to write, counted from
// 1, and 0 when all of them have.
SEC("xdp")
int check(struct xdp_md *ctx)
{
	int n = 0;
#define CHECK(field, c, go) n++; if (field != go) return n;
	FIELDS(CHECK)
	return 0;
}

SEC("xdp")
int count(struct xdp_md *ctx)
{
	guarded.count++;
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
