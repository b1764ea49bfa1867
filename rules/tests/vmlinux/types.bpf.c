// SPDX-License-Identifier: Apache-2.0

// What layouts can be made of. The object's BTF is turned into a header.

struct first {
	char c;
	long long l;
};

struct packed {
	char c;
	int i;
	struct first f;
} __attribute__((packed));

struct bits {
	unsigned int a : 3;
	int : 0;
	unsigned int b : 4;
	unsigned long long c : 40;
	_Bool d : 1;
};

struct aligned {
	char c;
	int i __attribute__((aligned(64)));
	union {
		struct packed *p;
		struct {
			short s;
		};
	};
};

enum sized { SMALL = -1, LARGE = 1LL << 40 };

struct unknown;

struct all {
	struct first first;
	struct packed packed;
	struct bits bits;
	struct aligned aligned;
	enum sized sized;
	struct all *(*functions[3])(const volatile char *, struct unknown *, ...);
	int flexible[];
};

// Hidden: the skeleton need not have a Go type for it.
struct all all __attribute__((visibility("hidden")));
char LICENSE[] __attribute__((section("license"))) = "GPL";
