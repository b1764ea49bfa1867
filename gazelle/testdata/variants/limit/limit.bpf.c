#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "limit.bpf.h"
#ifdef LOUD
#include "variants/log/log.bpf.h"
#endif

int limit = 10;

int limited(int n)
{
#ifdef LOUD
	note(n);
#endif
	return n > limit;
}
