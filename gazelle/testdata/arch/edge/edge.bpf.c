#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#if defined(__TARGET_ARCH_x86)
int on_x86(int x);
#define number on_x86
#elif defined(__TARGET_ARCH_arm64)
#include "arch/onarm/onarm.h"
#define number on_arm
#else
#error "for x86 and arm64 only"
#endif

SEC("xdp")
int edge(void *ctx)
{
	return number(1);
}

char LICENSE[] SEC("license") = "GPL";
