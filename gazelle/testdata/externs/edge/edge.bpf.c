#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern int count(__u64 by);
extern int CONFIG_HZ __kconfig;
extern int bpf_no_such_function(void) __ksym __weak;

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	count(CONFIG_HZ);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
