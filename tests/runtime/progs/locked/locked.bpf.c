// SPDX-License-Identifier: Apache-2.0

// A section that the kernel does not map into user space, because it holds a
// lock, beside one that it does.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct bpf_spin_lock lock SEC(".data.locked");
__u64 guarded SEC(".data.locked") = 5;

__u64 copy;

// Tracing programs may not take a lock.
SEC("xdp")
int copy_guarded(struct xdp_md *ctx)
{
	__u64 value;

	bpf_spin_lock(&lock);
	value = guarded;
	bpf_spin_unlock(&lock);
	copy = value;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
