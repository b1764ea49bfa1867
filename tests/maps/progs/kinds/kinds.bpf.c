// SPDX-License-Identifier: Apache-2.0

// Maps of the kinds that are no plain containers: what a program puts into them Go
// reads, and the other way round. See tests/normalise for the plain ones, and the
// objects beside this one for the kinds that are younger than Linux 5.10.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "tests/maps/progs/stats/stats.bpf.h"

// With padding, which the kernel compares too.
struct name {
	__u8 kind;
	__u32 id;
};

struct inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct stats);
};

STORAGE(of_sockets, SK);

#define FDS(name, kind, key_type, value_type)                                                                          \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_##kind);                                                                     \
		__uint(max_entries, 4);                                                                                \
		__type(key, key_type);                                                                                 \
		__type(value, value_type);                                                                             \
	} name SEC(".maps")

FDS(devices, DEVMAP, __u32, struct bpf_devmap_val);
FDS(devices_by_hash, DEVMAP_HASH, __u32, __u32);
FDS(cpus, CPUMAP, __u32, struct bpf_cpumap_val);
FDS(sockets, SOCKMAP, __u32, __u64);
FDS(sockets_by_name, SOCKHASH, struct name, __u64);
FDS(xsk, XSKMAP, __u32, __u32);
FDS(reuseport, REUSEPORT_SOCKARRAY, __u32, __u64);
FDS(cgroups, CGROUP_ARRAY, __u32, __u32);
FDS(plain, HASH, __u32, struct stats);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} tail_calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} inner_maps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64[32]);
} stacks SEC(".maps");

__u32 pid;
__u32 runs;
__u32 stack_id;
int below_cgroup = -1;

// A task gets another name: this process, when Go writes to /proc/self/comm.
SEC("tp_btf/task_rename")
int renamed(__u64 *ctx)
{
	int id;

	if (!pid || (bpf_get_current_pid_tgid() >> 32) != pid)
		return 0;
	below_cgroup = bpf_current_task_under_cgroup(&cgroups, 2);
	id = bpf_get_stackid(ctx, &stacks, 0);
	if (id >= 0)
		stack_id = id + 1;
	return 0;
}

SEC("cgroup/sock_create")
int created(struct bpf_sock *sk)
{
	count(bpf_sk_storage_get(&of_sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE));
	return 1;
}

// Doubles what Go put there.
SEC("cgroup/connect4")
int connecting(struct bpf_sock_addr *ctx)
{
	struct stats *s;

	if (!ctx->sk)
		return 1;
	s = bpf_sk_storage_get(&of_sockets, ctx->sk, 0, 0);
	if (s)
		s->packets *= 2;
	return 1;
}

SEC("xdp")
int caller(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &tail_calls, 3);
	return 1;
}

SEC("xdp")
int callee(struct xdp_md *ctx)
{
	return 42;
}

SEC("xdp")
int of_maps(struct xdp_md *ctx)
{
	struct stats made = { .packets = 100, .name = "made" };
	__u32 index = 1, key = 5, other = 6;
	void *inner = bpf_map_lookup_elem(&inner_maps, &index);

	if (!inner)
		return 1;
	count(bpf_map_lookup_elem(inner, &key));
	return bpf_map_update_elem(inner, &other, &made, BPF_ANY);
}

SEC("xdp")
int redirect_device(struct xdp_md *ctx)
{
	return bpf_redirect_map(&devices, 2, XDP_ABORTED);
}

SEC("xdp")
int redirect_hashed(struct xdp_md *ctx)
{
	return bpf_redirect_map(&devices_by_hash, 1000, XDP_ABORTED);
}

SEC("xdp")
int redirect_cpu(struct xdp_md *ctx)
{
	return bpf_redirect_map(&cpus, 0, XDP_ABORTED);
}

SEC("xdp")
int redirect_xsk(struct xdp_md *ctx)
{
	return bpf_redirect_map(&xsk, 1, XDP_ABORTED);
}

// In which of the maps there is a socket.
SEC("tc")
int find_sockets(struct __sk_buff *ctx)
{
	struct name key = {};
	__u32 index = 1;
	struct bpf_sock *sk;
	int found = 0;

	sk = bpf_map_lookup_elem(&sockets, &index);
	if (sk) {
		found |= 1;
		bpf_sk_release(sk);
	}
	key.kind = 3;
	key.id = 30;
	sk = bpf_map_lookup_elem(&sockets_by_name, &key);
	if (sk) {
		found |= 2;
		bpf_sk_release(sk);
	}
	return found;
}

SEC("sk_reuseport")
int choose(struct sk_reuseport_md *ctx)
{
	__u32 index = 1;

	if (bpf_sk_select_reuseport(ctx, &reuseport, &index, 0))
		return SK_DROP;
	runs++;
	return SK_PASS;
}

// How many entries there is room for.
SEC("xdp")
int fill(struct xdp_md *ctx)
{
	struct stats made = { .packets = 1, .name = "fill" };
	int n = 0;

	for (int i = 0; i < 32; i++) {
		__u32 key = i;

		n += !bpf_map_update_elem(&plain, &key, &made, BPF_NOEXIST);
	}
	return n;
}

char LICENSE[] SEC("license") = "GPL";
