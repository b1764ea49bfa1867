#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "ratelimit.bpf.h"
#include "libraries/tokens/tokens.bpf.h"

__u64 limit = 100;

int ratelimit_allow(__u32 key)
{
	return tokens_take(key) < limit;
}
