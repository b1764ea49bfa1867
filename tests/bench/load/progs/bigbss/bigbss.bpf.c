// A section of 64 MiB.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

char big[64 << 20];

SEC("raw_tp/task_rename")
int touch(void *ctx)
{
	big[sizeof(big) - 1]++;
	return 0;
}
