// An object as small as they come: one program, and sections of all kinds.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

const volatile __u32 limit = 7;
const volatile __u32 step SEC(".rodata.step") = 3;
__u64 calls;
__u64 started = 1;
__u64 extra SEC(".data.extra") = 5;

SEC("raw_tp/task_rename")
int count(void *ctx)
{
	if (calls < limit)
		__sync_fetch_and_add(&calls, started);
	extra += step;
	return 0;
}
