//go:build ignore

/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

#if defined(__TARGET_ARCH_x86)
char cpu[8] = "x86";
#elif defined(__TARGET_ARCH_arm64)
char cpu[8] = "arm64";
#else
char cpu[8] = "other";
#endif

SEC("xdp")
int on_cpu(struct xdp_md *ctx)
{
	return cpu[0] ? XDP_PASS : XDP_DROP;
}
