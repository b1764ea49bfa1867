#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "tokens.bpf.h"

__u64 taken;

__u64 tokens_take(__u32 key)
{
	return __sync_fetch_and_add(&taken, 1);
}
