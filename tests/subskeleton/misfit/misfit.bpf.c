// SPDX-License-Identifier: Apache-2.0

// Has the names of the libraries without the libraries, each with something else.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Other members. */
struct limit {
	unsigned int burst;
	unsigned long long per_second;
};

struct usage {
	unsigned long long allowed;
	long long refused;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, unsigned int);
	__type(value, struct usage);
} limiter_usage SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 4);
	__type(value, unsigned long long);
} app_counts SEC(".maps");

struct limit limiter_default;
struct limit limiter_limit = {.per_second = 3, .burst = 4};
long long limiter_calls;
unsigned int limiter_history[16];
static volatile unsigned int limiter_custom SEC(".data.limiter") = 5;
const volatile int limiter_mode = 1;
int (*limiter_hook)(long);
void *limiter_cookie __hidden;
struct {
	char c;
	int app_id;
} __attribute__((packed)) other;
int LINUX_KERNEL_VERSION;

struct tcp_congestion_ops {
	char name[16];
	unsigned int (*ssthresh)(void *sk);
};

struct tcp_congestion_ops steady SEC("?.struct_ops.link") = {.name = "misfit"};
struct tcp_congestion_ops *steady_old;

SEC("socket")
int limiter_watch(void *ctx)
{
	void *cookie = limiter_cookie;

	return limiter_custom + limiter_mode + (cookie != 0);
}

char LICENSE[] SEC("license") = "GPL";
