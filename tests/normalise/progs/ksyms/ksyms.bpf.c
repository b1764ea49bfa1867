// SPDX-License-Identifier: Apache-2.0

// Variables of the kernel, with their types.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern const int bpf_prog_active __ksym;
extern const struct no_such_type there_is_no_such_variable __ksym __weak;

int active = -1, missing = -1;

SEC("syscall")
int read_active(void *ctx)
{
	const int *value = bpf_per_cpu_ptr(&bpf_prog_active, 0);

	if (value)
		active = *value;
	return 0;
}

SEC("syscall")
int look_for_missing(void *ctx)
{
	missing = !&there_is_no_such_variable;
	return 0;
}

char _license[] SEC("license") = "GPL";
