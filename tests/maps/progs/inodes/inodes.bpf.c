// SPDX-License-Identifier: Apache-2.0

// Storage of inodes is for LSM programs, and for kernels that have these.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_INODE_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} opened SEC(".maps");

struct inode;

struct file {
	struct inode *f_inode;
} __attribute__((preserve_access_index));

SEC("lsm/file_open")
int file_open(__u64 *ctx)
{
	struct file *file = (void *)ctx[0];
	__u64 *n = bpf_inode_storage_get(&opened, file->f_inode, 0, 0);

	if (n)
		__atomic_fetch_add(n, 1, __ATOMIC_RELAXED);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
