#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "net/clock/clock.bpf.h"
#include "ratelimit.bpf.h"

__u64 interval_ns = 1000000;
__u64 last_ns = 0;

// Says whether the interval has passed since it said so last.
int ratelimit_allow(void)
{
	__u64 now = clock_now();

	if (now - last_ns < interval_ns)
		return 0;
	last_ns = now;
	return 1;
}
