// SPDX-License-Identifier: Apache-2.0

// Denies a user to open what is below a directory, whatever the permissions of the
// files say. The kernel asks the program at every open.

#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define EACCES 13

// How deep below the directory a file may be to be found there.
#define DEPTH 64

// Set before load: the directory, as the kernel knows it, and the user.
const volatile __u64 directory_inode = 0;
const volatile __u32 directory_device = 0;
const volatile __u32 user = 0;

struct denial {
	__u64 count;
	__u32 pid;
	char comm[16];
};

// How many opens were denied, and whose was the last.
struct denial denied;

static int is_below(struct dentry *dentry)
{
	for (int i = 0; i < DEPTH; i++) {
		struct dentry *parent;

		if (BPF_CORE_READ(dentry, d_inode, i_ino) == directory_inode &&
		    BPF_CORE_READ(dentry, d_sb, s_dev) == directory_device)
			return 1;
		parent = BPF_CORE_READ(dentry, d_parent);
		if (parent == dentry)
			break;
		dentry = parent;
	}
	return 0;
}

SEC("lsm/file_open")
int BPF_PROG(on_open, struct file *file)
{
	if ((__u32)bpf_get_current_uid_gid() != user)
		return 0;
	if (!is_below(BPF_CORE_READ(file, f_path.dentry)))
		return 0;
	denied.pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(&denied.comm, sizeof(denied.comm));
	// Relaxed: the instruction that kernels before 5.12 have as well.
	__atomic_fetch_add(&denied.count, 1, __ATOMIC_RELAXED);
	return -EACCES;
}

// The kernel allows programs at these hooks under the GPL only.
char LICENSE[] SEC("license") = "GPL";
