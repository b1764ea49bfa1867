#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* A default, which another library replaces. */
__weak int pick(int x)
{
	return x;
}

int hooks(int x)
{
	return pick(x);
}
