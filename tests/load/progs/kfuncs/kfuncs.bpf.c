// SPDX-License-Identifier: Apache-2.0

// Functions of the kernel: which of several prototypes it has, and where they are.

#include <stdbool.h>
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

/* The kernel's prototype, between two others. */
extern bool bpf_rcu_read_lock___first(int how) __ksym __weak;
extern void bpf_rcu_read_lock___right(void) __ksym __weak;
extern void bpf_rcu_read_lock___last(void *a, void *b) __ksym __weak;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
extern void bpf_no_such_function(void) __ksym __weak;
/* The kernel's, but for the struct that nothing defines here. */
struct task_struct;
extern void bpf_task_release(struct task_struct *task) __ksym __weak;
/* Of the kernel, and for no program to call. */
extern const void vfs_read __ksym;

int exist, called;
__u64 lock_address, other_address, missing_address, read_address;

SEC("syscall")
int choose(void *ctx)
{
	exist = (bpf_ksym_exists(bpf_rcu_read_lock___first) ? 1 : 0) | (bpf_ksym_exists(bpf_rcu_read_lock___right) ? 2 : 0) |
		(bpf_ksym_exists(bpf_rcu_read_lock___last) ? 4 : 0) | (bpf_ksym_exists(bpf_no_such_function) ? 8 : 0);
	if (bpf_ksym_exists(bpf_rcu_read_lock___first)) {
		bpf_rcu_read_lock___first(1);
		called = 1;
	} else if (bpf_ksym_exists(bpf_rcu_read_lock___last)) {
		bpf_rcu_read_lock___last(0, 0);
		called = 4;
	} else if (bpf_ksym_exists(bpf_rcu_read_lock___right)) {
		bpf_rcu_read_lock___right();
		called = 2;
	} else {
		bpf_rcu_read_lock();
	}
	bpf_rcu_read_unlock();
	return 0;
}

SEC("syscall")
int addresses(void *ctx)
{
	lock_address = (__u64)&bpf_rcu_read_lock;
	other_address = (__u64)&bpf_rcu_read_lock___last;
	missing_address = (__u64)&bpf_no_such_function;
	read_address = (__u64)&vfs_read;
	return 0;
}

/* Calls without a look what the kernel lacks. */
SEC("?syscall")
int unguarded(void *ctx)
{
	bpf_no_such_function();
	return 0;
}

SEC("?syscall")
int declared(void *ctx)
{
	bpf_task_release(0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
