// SPDX-License-Identifier: Apache-2.0

// A section that the kernel does not map into user space, because it holds a
// lock, beside one that it does.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct bpf_spin_lock lock SEC(".data.locked");
__u64 guarded SEC(".data.locked") = 5;

__u64 copy;

// Without taking the lock: kernels before 6.2 take none in global data, and a
// tracing program may not even use the section.
SEC("xdp")
int copy_guarded(struct xdp_md *ctx)
{
	copy = guarded;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
