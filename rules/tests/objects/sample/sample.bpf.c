// SPDX-License-Identifier: Apache-2.0

// Says in its data what it was compiled for.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#if defined(__TARGET_ARCH_x86)
#define ARCH "arch=x86;"
#elif defined(__TARGET_ARCH_arm64)
#define ARCH "arch=arm64;"
#elif defined(__TARGET_ARCH_riscv)
#define ARCH "arch=riscv;"
#elif defined(__TARGET_ARCH_s390)
#define ARCH "arch=s390;"
#else
#error "compiled for no architecture"
#endif

const volatile char arch[] = ARCH;
__u32 number = 0x01020304;

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	number += arch[0];
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
