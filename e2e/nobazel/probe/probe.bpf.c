//go:build ignore

/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct packet {
	__u32 length;
#ifdef COUNTING
	__u32 number;
#endif
};

#ifdef COUNTING
__u32 packets;
#endif
struct packet last;

SEC("xdp")
int probe(struct xdp_md *ctx)
{
	last.length = ctx->data_end - ctx->data;
#ifdef COUNTING
	last.number = ++packets;
#endif
	return XDP_PASS;
}
