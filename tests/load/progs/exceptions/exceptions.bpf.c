// SPDX-License-Identifier: Apache-2.0

// Exceptions: which function a program ends with is a tag, and the function is in the
// program though nothing calls it.

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define CATCHES(function) __attribute__((btf_decl_tag("exception_callback:" #function)))

extern void bpf_throw(__u64 cookie) __ksym;

int limit = 10, caught;

static __noinline int twice(int n)
{
	return n * 2 + !limit;
}

/* Calls a function of its own. */
__noinline int catch_all(__u64 cookie)
{
	caught++;
	return twice(cookie);
}

/* Throws far from the program. */
static __noinline int check(struct __sk_buff *ctx)
{
	if (ctx->len > limit)
		bpf_throw(ctx->len);
	return 1;
}

SEC("tc")
CATCHES(catch_all)
int checked(struct __sk_buff *ctx)
{
	return check(ctx);
}

/* The same function for a second program. */
SEC("tc")
CATCHES(catch_all)
int thrower(struct __sk_buff *ctx)
{
	bpf_throw(21);
	return 1;
}

/* Without one, the program returns the cookie. */
SEC("tc")
int uncaught(struct __sk_buff *ctx)
{
	if (ctx->len > limit)
		bpf_throw(5);
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
