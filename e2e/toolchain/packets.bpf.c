#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

// clang's own headers are the archive's: those of other clangs have no such macro.
#ifndef FROM_THE_ARCHIVE
#error "stdbool.h is not from the archive"
#endif

__u64 packets;
bool on = true;

SEC("xdp")
int count(struct xdp_md *ctx)
{
	if (on)
		__sync_fetch_and_add(&packets, 1);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
