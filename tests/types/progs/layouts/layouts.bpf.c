// SPDX-License-Identifier: Apache-2.0

// Everything that C does to the layout of a struct.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct point {
	__s16 x;
	__s64 y;
};

union value {
	__u8 byte;
	__u64 number;
	struct point point;
	struct {
		__u16 low, high;
	} pair;
	char text[20];
};

// The members of the anonymous ones are reached through the outer struct.
struct endpoint {
	__u8 version;
	union {
		__u32 v4;
		struct {
			__u64 prefix;
			__u64 host;
		};
		__u8 bytes[16];
		__u32 flow : 20;
	};
	struct {
		__u16 port;
		__u8 flags : 3;
	};
	__u32 after;
};

enum level {
	LOW = -2,
	HIGH = 1,
};

enum color {
	RED,
	BLUE = 5,
};

struct bits {
	__u8 before;
	__u32 one : 1;
	__s32 number : 7;
	enum color color : 3;
	enum level level : 3;
	_Bool on : 1;
	__u64 wide : 41;
	__u16 whole : 16;
	__u32 : 5;
	__s64 last : 60;
	__u8 after;
};

struct wider {
	__int128 low : 20;
	__int128 middle : 64;
	unsigned __int128 high : 40;
	__u8 after;
};

struct wire {
	__u8 kind;
	__u32 length;
	__u64 stamp;
	__s16 sums[2];
	struct point point;
	__u16 : 3;
	__u32 inner : 17;
	__u8 end;
} __attribute__((packed));

struct frame {
	__u8 kind;
	struct wire wire;
	__u32 crc;
};

struct lane {
	__u64 count;
	__u8 flag;
} __attribute__((aligned(64)));

struct list {
	__u32 len;
	__u16 items[];
};

struct odd {
	__u32 a;
	struct {} nothing;
	__u32 none[0];
	__u32 b;
};

struct node {
	struct node *next;
	struct {
		struct node *left, *right;
	} sides;
	__u32 id;
};

union value values[5] = {};
struct endpoint endpoints[2];
struct bits bits[2];
struct wider wider;
struct wire wires[2];
struct frame frame;
struct lane lanes[2];
struct list list = { 3, { 1, 2, 3 } };
struct odd odd;
struct node node;

// What C writes for Go to read, and what C expects of Go.
#define FIELDS(F) \
	F(values[0].byte, 11, 201) \
	F(values[1].number, 0x1122334455667788, 0x8877665544332211) \
	F(values[2].point.x, -12, 1200) \
	F(values[2].point.y, -13000000000, 1300000000000) \
	F(values[3].pair.low, 14, 1400) \
	F(values[3].pair.high, 15, 1500) \
	F(values[4].text[0], 'c', 'g') \
	F(values[4].text[19], 'd', 'o') \
	F(endpoints[0].version, 4, 104) \
	F(endpoints[0].v4, 0x7f000001, 0x0a000001) \
	F(endpoints[0].port, 80, 8080) \
	F(endpoints[0].flags, 5, 2) \
	F(endpoints[0].after, 17, 1700) \
	F(endpoints[1].prefix, 0xfe80000000000000, 0x20010db800000000) \
	F(endpoints[1].host, 18, 1800) \
	F(endpoints[1].after, 19, 1900) \
	F(bits[0].before, 0xff, 0) \
	F(bits[0].one, 1, 0) \
	F(bits[0].number, -64, 63) \
	F(bits[0].color, BLUE, RED) \
	F(bits[0].level, LOW, HIGH) \
	F(bits[0].on, 1, 0) \
	F(bits[0].wide, 0x10123456789, 0x0fedcba9876) \
	F(bits[0].whole, 0xabcd, 0x1234) \
	F(bits[0].last, -0x7123456789abcde, 0x7edcba987654321) \
	F(bits[0].after, 0, 0xff) \
	F(bits[1].before, 0, 0xff) \
	F(bits[1].one, 0, 1) \
	F(bits[1].number, 63, -64) \
	F(bits[1].color, RED, BLUE) \
	F(bits[1].level, HIGH, LOW) \
	F(bits[1].on, 0, 1) \
	F(bits[1].wide, 0, 0x1ffffffffff) \
	F(bits[1].whole, 0, 0xffff) \
	F(bits[1].last, 0, -1) \
	F(bits[1].after, 0xff, 0) \
	F(wider.low, -0x71234, 0x61234) \
	F(wider.middle, -0x7123456789abcdef, 0x7edcba9876543210) \
	F(wider.high, 0xfedcba9876, 0x0123456789) \
	F(wider.after, 0xff, 0) \
	F(wires[0].kind, 21, 210) \
	F(wires[0].length, 0x22222222, 0x2a2a2a2a) \
	F(wires[0].stamp, 0x2323232323232323, 0x2b2b2b2b2b2b2b2b) \
	F(wires[0].sums[0], -24, 2400) \
	F(wires[0].sums[1], 25, -2500) \
	F(wires[0].point.x, -26, 2600) \
	F(wires[0].point.y, 27, -2700) \
	F(wires[0].inner, 0x1abcd, 0x05432) \
	F(wires[0].end, 28, 208) \
	F(wires[1].kind, 31, 131) \
	F(wires[1].stamp, 0x3232323232323232, 0x3b3b3b3b3b3b3b3b) \
	F(wires[1].inner, 0x00001, 0x1fffe) \
	F(wires[1].end, 33, 133) \
	F(frame.kind, 34, 134) \
	F(frame.wire.length, 0x35353535, 0x3a3a3a3a) \
	F(frame.crc, 0x36363636, 0x3c3c3c3c) \
	F(lanes[0].count, 41, 4100) \
	F(lanes[0].flag, 42, 142) \
	F(lanes[1].count, 43, 4300) \
	F(lanes[1].flag, 44, 144) \
	F(list.len, 2, 3) \
	F(list.items[0], 51, 5100) \
	F(list.items[2], 52, 5200) \
	F(odd.a, 53, 5300) \
	F(odd.b, 54, 5400) \
	F(node.next, (void *)0xffff888011111111, (void *)0xffff888022222222) \
	F(node.sides.right, (void *)0xffff888033333333, (void *)0xffff888044444444) \
	F(node.id, 55, 5500)

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

char LICENSE[] SEC("license") = "Dual BSD/GPL";
