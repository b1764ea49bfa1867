#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#ifdef __TARGET_ARCH_arm64
SEC("xdp")
int only(void *ctx)
{
	return 0;
}
#endif

char LICENSE[] SEC("license") = "GPL";
