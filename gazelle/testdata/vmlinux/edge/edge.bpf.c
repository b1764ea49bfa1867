#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "vmlinux/headers/plain.h"
#include "made.h"

SEC("raw_tp/sched_process_exec")
int on_exec(void *ctx)
{
	return PLAIN + MADE;
}

char LICENSE[] SEC("license") = "GPL";
