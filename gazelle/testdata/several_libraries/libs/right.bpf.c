#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "left.bpf.h"

__u64 right_calls;

int right(void)
{
	right_calls++;
	return left();
}
