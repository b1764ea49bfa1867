// SPDX-License-Identifier: Apache-2.0

// Reads settings of the running kernel, in BPF and in user space.

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/version.h>
#include <bpf/bpf_helpers.h>

extern unsigned int LINUX_KERNEL_VERSION __kconfig;
extern bool CONFIG_BPF_SYSCALL __kconfig;
extern int CONFIG_HZ __kconfig;
extern char CONFIG_DEFAULT_HOSTNAME[64] __kconfig __weak;
extern enum libbpf_tristate CONFIG_VETH __kconfig __weak;

// There is no such setting: a weak variable of it is zero.
extern int CONFIG_NO_SUCH_SETTING __kconfig __weak;

__u64 jiffy_ns;
bool is_new;
bool has_name;
bool has_veth;

// The verifier knows the values as constants, and drops what is never reached.
SEC("socket")
int compute(void *ctx)
{
	if (CONFIG_HZ > 0)
		jiffy_ns = 1000000000ULL / CONFIG_HZ;
	has_name = CONFIG_DEFAULT_HOSTNAME[0] != '(';
	has_veth = CONFIG_BPF_SYSCALL && CONFIG_VETH != TRI_NO;
	is_new = LINUX_KERNEL_VERSION >= KERNEL_VERSION(6, 0, 0);
	return CONFIG_NO_SUCH_SETTING;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
