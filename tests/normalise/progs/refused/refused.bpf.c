// SPDX-License-Identifier: Apache-2.0

// The verifier refuses the program, and says so with a line of this file.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int reads_beyond_the_packet(struct xdp_md *ctx)
{
	__u8 *packet = (void *)(long)ctx->data;

	return packet[7];
}

char _license[] SEC("license") = "GPL";
