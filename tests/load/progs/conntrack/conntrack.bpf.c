// SPDX-License-Identifier: Apache-2.0

// Functions of a module of the kernel, or of the kernel itself where that is built so.

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

/* To be the kernel's, it must be a struct here too, and not only be declared. */
struct nf_conn {};
struct bpf_ct_opts___of_tests {
	__s32 netns_id;
	__s32 error;
	__u8 l4proto;
	__u8 dir;
	__u8 reserved[2];
};

extern struct nf_conn *bpf_xdp_ct_lookup(struct xdp_md *ctx, struct bpf_sock_tuple *tuple, __u32 tuple_size,
					 struct bpf_ct_opts___of_tests *opts, __u32 opts_size) __ksym __weak;
extern void bpf_ct_release(struct nf_conn *ct) __ksym __weak;
/* With a parameter too many. */
extern int bpf_ct_change_timeout___other(struct nf_conn *ct, __u32 timeout, int more) __ksym __weak;

int error = 1, other_exists;
__u64 address;

SEC("xdp")
int look_up(struct xdp_md *ctx)
{
	struct bpf_ct_opts___of_tests opts = { .netns_id = -1, .l4proto = 6 };
	struct bpf_sock_tuple tuple = {};
	struct nf_conn *ct;

	other_exists = bpf_ksym_exists(bpf_ct_change_timeout___other) ? 1 : 0;
	address = (__u64)&bpf_ct_release;
	if (!bpf_ksym_exists(bpf_xdp_ct_lookup) || !bpf_ksym_exists(bpf_ct_release))
		return XDP_PASS;
	ct = bpf_xdp_ct_lookup(ctx, &tuple, sizeof(tuple.ipv4), &opts, sizeof(opts));
	error = opts.error;
	if (ct)
		bpf_ct_release(ct);
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
