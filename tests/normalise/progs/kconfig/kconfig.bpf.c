// SPDX-License-Identifier: Apache-2.0

// Every type that a Kconfig option can have. What the program reads is what
// it was given, so it copies all of it.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern __u32 LINUX_KERNEL_VERSION __kconfig;
extern _Bool LINUX_HAS_BPF_COOKIE __kconfig __weak;
extern __u64 CONFIG_HZ __kconfig __weak;
extern int CONFIG_NR_CPUS __kconfig __weak;
extern _Bool CONFIG_BPF __kconfig __weak;
extern enum libbpf_tristate CONFIG_NET __kconfig __weak;
extern char CONFIG_BPF_SYSCALL __kconfig __weak;
extern const char CONFIG_DEFAULT_HOSTNAME[8] __kconfig __weak;
extern __u64 CONFIG_NOBODY_HAS_THIS __kconfig __weak;
extern _Bool SOME_DAY_THERE_IS_THIS __kconfig __weak;

__u32 version;
_Bool cookie;
__u64 hz;
int cpus;
_Bool bpf;
__u32 net;
char bpf_syscall;
char hostname[8];
__u64 nobody = 1;
_Bool some_day = 1;

SEC("xdp")
int copy(void *ctx)
{
	version = LINUX_KERNEL_VERSION;
	cookie = LINUX_HAS_BPF_COOKIE;
	hz = CONFIG_HZ;
	cpus = CONFIG_NR_CPUS;
	bpf = CONFIG_BPF;
	net = CONFIG_NET;
	bpf_syscall = CONFIG_BPF_SYSCALL;
	for (int i = 0; i < sizeof(hostname); i++)
		hostname[i] = CONFIG_DEFAULT_HOSTNAME[i];
	nobody = CONFIG_NOBODY_HAS_THIS;
	some_day = SOME_DAY_THERE_IS_THIS;
	return 0;
}

char _license[] SEC("license") = "GPL";
