// SPDX-License-Identifier: Apache-2.0

// More branches than the verifier keeps, for which kernels end with EFAULT and a log.

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("socket")
int jump(struct __sk_buff *ctx)
{
	__u64 n = ctx->len, other = ctx->mark;

	/* Each may be taken, whatever is known of the numbers. */
	asm volatile(".rept 9000\n"
		     "if %[n] == %[other] goto 1f\n"
		     "%[n] += 1\n"
		     ".endr\n"
		     "1:"
		     : [n] "+r"(n)
		     : [other] "r"(other));
	return n;
}

char LICENSE[] SEC("license") = "GPL";
