// SPDX-License-Identifier: Apache-2.0

// Values of floating point. BTF has had types for them since Linux 5.13; earlier
// kernels are given others in their place.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

typedef float ratio_t;

float f32;
double f64;
ratio_t ratio;

// BPF has no arithmetic for floating point, not even a comparison.
#define BITS(value, type) ({ \
	type bits; \
	__builtin_memcpy(&bits, &value, sizeof(bits)); \
	bits; \
})

#define FIELDS(F) \
	F(f32, 1.5f, 0xc0200000, __u32) \
	F(f64, 2.5, 0xc00c000000000000, __u64) \
	F(ratio, 0.25f, 0x3f000000, __u32)

SEC("xdp")
int write(struct xdp_md *ctx)
{
#define WRITE(field, c, ...) field = c;
	FIELDS(WRITE)
	return 0;
}

// Returns which field does not have the value that Go is to write, counted from
// 1, and 0 when all of them have.
SEC("xdp")
int check(struct xdp_md *ctx)
{
	int n = 0;
#define CHECK(field, c, go, type) n++; if (BITS(field, type) != go) return n;
	FIELDS(CHECK)
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
