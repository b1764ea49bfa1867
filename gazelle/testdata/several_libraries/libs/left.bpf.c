#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "left.bpf.h"

__u64 left_calls;

int left(void)
{
	left_calls++;
	return 1;
}
