// SPDX-License-Identifier: Apache-2.0

// Programs on hooks of a cgroup and sessions of functions, with all that a program
// can refer to. All are optional.

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define RELOCATED __attribute__((preserve_access_index))

struct sock_common {
	unsigned short skc_family;
} RELOCATED;

struct sock {
	struct sock_common __sk_common;
} RELOCATED;

struct socket {
	struct sock *sk;
} RELOCATED;

struct socket___other {
	int no_such_field;
} RELOCATED;

extern int LINUX_KERNEL_VERSION __kconfig;

extern void bpf_rcu_read_lock(void) __weak __ksym;
extern void bpf_rcu_read_unlock(void) __weak __ksym;
extern bool bpf_session_is_return(void *ctx) __weak __ksym;
extern __u64 *bpf_session_cookie(void *ctx) __weak __ksym;
extern void no_such_weak_kfunc(void) __weak __ksym;
extern void no_such_kfunc(void) __ksym;
// What follows three underscores tells declarations of one kfunc apart.
extern void bpf_rcu_read_lock___same(void) __weak __ksym;
extern void bpf_rcu_read_unlock___same(void) __weak __ksym;
extern int bpf_rcu_read_lock___other(int n) __weak __ksym;
extern int bpf_rcu_read_lock___wrong(int n) __ksym;

extern const void security_socket_bind __ksym;
extern const void no_such_weak_symbol __weak __ksym;
extern const void no_such_symbol __ksym;

// How often each family of addresses was bound.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} binds SEC(".maps");

// The family to count.
const volatile __u32 family;

__u64 global_calls, tail_calls;
__u32 version;
__u64 address;
__u64 weak_address = 1;
// Whether the kernel has bpf_rcu_read_lock, and as which of its declarations.
bool has_kfunc, has_same, has_other;

__noinline int in_global_function(int n)
{
	global_calls += n;
	return 0;
}

static __noinline void count(__u32 key)
{
	__u64 one = 1, *value = bpf_map_lookup_elem(&binds, &key);

	if (value)
		__atomic_fetch_add(value, 1, __ATOMIC_RELAXED);
	else
		bpf_map_update_elem(&binds, &key, &one, BPF_ANY);
}

SEC("?lsm_cgroup/socket_bind")
int on_tail(void *ctx)
{
	tail_calls++;
	return 1;
}

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} calls SEC(".maps") = {
	.values = { [1] = (void *)&on_tail },
};

SEC("?lsm_cgroup/socket_bind")
int BPF_PROG(on_bind, struct socket *sock)
{
	struct sock *sk = sock->sk;
	__u32 key;

	if (!sk)
		return 1;
	key = sk->__sk_common.skc_family;
	if (key != family)
		return 1;
	count(key);
	in_global_function(3);
	version = LINUX_KERNEL_VERSION;
	address = (__u64)&security_socket_bind;
	weak_address = (__u64)&no_such_weak_symbol;
	if (bpf_ksym_exists(bpf_rcu_read_lock)) {
		bpf_rcu_read_lock();
		has_kfunc = true;
		bpf_rcu_read_unlock();
	}
	if (bpf_ksym_exists(bpf_rcu_read_lock___same)) {
		bpf_rcu_read_lock___same();
		has_same = true;
		bpf_rcu_read_unlock___same();
	}
	if (bpf_ksym_exists(bpf_rcu_read_lock___other)) {
		bpf_rcu_read_lock___other(1);
		has_other = true;
	}
	if (bpf_ksym_exists(no_such_weak_kfunc))
		no_such_weak_kfunc();
	bpf_tail_call(ctx, &calls, 1);
	return 1;
}

// Loads on kernels that have no sessions.
SEC("?raw_tp/sys_enter")
int not_on_hook(void *ctx) { return 0; }

__u64 entries, exits, cookies;

SEC("?fsession/security_task_getsid")
int BPF_PROG(in_session)
{
	__u64 *cookie = bpf_session_cookie(ctx);

	if (bpf_session_is_return(ctx)) {
		exits++;
		if (*cookie == 42)
			cookies++;
	} else {
		entries++;
		*cookie = 42;
	}
	return 0;
}

__u64 in_module;

SEC("?fsession/veth_xmit")
int on_module(void *ctx)
{
	in_module++;
	return 0;
}

// What does not load.

SEC("?lsm_cgroup/no_such_hook")
int no_hook(void *ctx) { return 1; }

SEC("?fsession/no_such_function")
int no_function(void *ctx) { return 0; }

SEC("?lsm_cgroup/socket_bind")
int wrong_access(__u64 *ctx)
{
	return ctx[1000]; // beyond the arguments
}

// The verifier has much to say before it comes to the end of this one.
SEC("?lsm_cgroup/socket_bind")
int wrong_at_last(__u64 *ctx)
{
	__u64 sum = 0;

	for (volatile int i = 0; i < 2000; i++)
		sum += i;
	return sum + ctx[2000]; // beyond the arguments as well
}

SEC("?lsm_cgroup/socket_bind")
int unasked_kfunc(void *ctx)
{
	no_such_weak_kfunc();
	return 1;
}

SEC("?lsm_cgroup/socket_bind")
int BPF_PROG(unasked_field, struct socket___other *sock)
{
	return sock->no_such_field;
}

SEC("?lsm_cgroup/socket_bind")
int missing_kfunc(void *ctx)
{
	no_such_kfunc();
	return 1;
}

SEC("?lsm_cgroup/socket_bind")
int wrong_kfunc(void *ctx)
{
	bpf_rcu_read_lock___wrong(1);
	return 1;
}

SEC("?lsm_cgroup/socket_bind")
int missing_symbol(void *ctx)
{
	address = (__u64)&no_such_symbol;
	return 1;
}

SEC("?socket")
int wrong_socket(struct __sk_buff *skb)
{
	return *(int *)(long)skb->len;
}

char LICENSE[] SEC("license") = "GPL";
