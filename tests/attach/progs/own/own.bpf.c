// SPDX-License-Identifier: Apache-2.0

// Sections of the project's own, which get their types before Load, and names of the
// kind that loaders used to take by their prefix.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u64 packets, renames, numbered, entered, classified;

SEC("my_filter")
int own_packets(void *ctx)
{
	__atomic_fetch_add(&packets, 1, __ATOMIC_RELAXED);
	return XDP_PASS;
}

SEC("my_probes/rename")
int own_renames(void *ctx)
{
	__atomic_fetch_add(&renames, 1, __ATOMIC_RELAXED);
	return 0;
}

SEC("socket1")
int by_number(void *ctx)
{
	__atomic_fetch_add(&numbered, 1, __ATOMIC_RELAXED);
	return 0xffff;
}

SEC("xdp_entry")
int by_suffix(void *ctx)
{
	__atomic_fetch_add(&entered, 1, __ATOMIC_RELAXED);
	return XDP_PASS;
}

SEC("classifier/x")
int by_path(void *ctx)
{
	__atomic_fetch_add(&classified, 1, __ATOMIC_RELAXED);
	return -1; // TCX_NEXT, which older headers lack
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
