#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "clock.bpf.h"

// Nanoseconds to add to the time since boot.
__u64 offset_ns = 0;

__u64 clock_now(void)
{
	return bpf_ktime_get_ns() + offset_ns;
}
