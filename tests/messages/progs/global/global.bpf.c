// Functions that are not static, as those of a bpf_library are: the kernel verifies each
// by itself, knowing of its arguments what their types say. docs/kernels.md tells which
// kernels take which.

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct pair {
	__u64 a, b;
};

__noinline int scalar(int x)
{
	asm volatile("");
	return x & 1;
}

__noinline int context(struct xdp_md *ctx)
{
	asm volatile("");
	return ctx->rx_queue_index & 1;
}

__noinline int checked(struct pair *p)
{
	asm volatile("");
	return p ? p->a & 1 : 0;
}

__noinline int unchecked(struct pair *p)
{
	asm volatile("");
	return p->a & 1;
}

__u64 seen;

__noinline void nothing(int x)
{
	asm volatile("");
	seen = x;
}

SEC("?xdp")
int calls_scalar(struct xdp_md *ctx)
{
	return scalar(ctx->rx_queue_index) + 1;
}

SEC("?xdp")
int calls_context(struct xdp_md *ctx)
{
	return context(ctx) + 1;
}

SEC("?xdp")
int calls_checked(struct xdp_md *ctx)
{
	struct pair p = {.a = ctx->rx_queue_index, .b = 2};

	return checked(&p) + 1;
}

SEC("?xdp")
int calls_unchecked(struct xdp_md *ctx)
{
	struct pair p = {.a = ctx->rx_queue_index, .b = 2};

	return unchecked(&p) + 1;
}

SEC("?xdp")
int calls_nothing(struct xdp_md *ctx)
{
	nothing(ctx->rx_queue_index);
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
