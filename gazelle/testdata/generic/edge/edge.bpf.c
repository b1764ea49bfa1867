#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

int narrow(int x);
/* Nothing defines it, and nothing needs it. */
long wide(long x);

#define convert(x) _Generic((x), int: narrow, long: wide)(x)

SEC("xdp")
int edge(void *ctx)
{
	return convert(1);
}

char LICENSE[] SEC("license") = "GPL";
