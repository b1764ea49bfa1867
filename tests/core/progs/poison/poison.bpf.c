// Programs that need what no kernel has, guarded and not.

#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "GPL";

#define CORE __attribute__((preserve_access_index))

struct task_struct___later {
	int pid;
	void *field_of_later;
	char comm[16];
} CORE;
enum pid_type___later {
	PIDTYPE_LATER = 3,
};
struct task_struct___wide {
	unsigned long flags; /* unsigned int in the kernel */
} CORE;
struct task_struct___signed {
	long flags;
} CORE;
struct task_struct___same {
	unsigned int flags;
} CORE;
/* Deep in a large struct, in the kernel an unsigned int and an unsigned short. */
struct sched_rt_entity___wide {
	__u64 time_slice;
	__u64 on_list;
} CORE;
struct sched_rt_entity___as_it_is {
	unsigned int time_slice;
	unsigned short on_list;
} CORE;
struct task_struct___deep {
	struct sched_rt_entity___wide rt;
} CORE;
struct task_struct___deep_too {
	struct sched_rt_entity___as_it_is rt;
} CORE;
struct task_struct;

int hits, offset;
__u64 wide, same, wide_slice, same_slice, wide_list = ~0ull, same_list;

static __attribute__((noinline)) int later_offset(void)
{
	return bpf_core_field_offset(struct task_struct___later, field_of_later);
}

SEC("?raw_tp/sys_enter")
int guarded(void *ctx)
{
	struct task_struct___later *t = (void *)0;

	hits++;
	if (bpf_core_field_exists(t->field_of_later))
		offset = later_offset();
	return 0;
}

SEC("?raw_tp/sys_enter")
int unguarded(void *ctx)
{
	struct task_struct___later *t = (void *)bpf_get_current_task();

	hits = BPF_CORE_READ(t, field_of_later) != 0;
	return 0;
}

SEC("?raw_tp/sys_enter")
int unguarded_value(void *ctx)
{
	hits = bpf_core_enum_value(enum pid_type___later, PIDTYPE_LATER);
	return 0;
}

/* The load is made narrower, as the value is unsigned. */
SEC("?tp_btf/sys_enter")
int narrowed(__u64 *ctx)
{
	void *t = (void *)bpf_get_current_task_btf();

	hits++;
	wide = ((struct task_struct___wide *)t)->flags;
	same = ((struct task_struct___same *)t)->flags;
	wide_slice = ((struct task_struct___deep *)t)->rt.time_slice;
	same_slice = ((struct task_struct___deep_too *)t)->rt.time_slice;
	wide_list = ((struct task_struct___deep *)t)->rt.on_list;
	same_list = ((struct task_struct___deep_too *)t)->rt.on_list;
	return 0;
}

/* A signed value would lose its sign. */
SEC("?tp_btf/sys_enter")
int misread(__u64 *ctx)
{
	void *t = (void *)bpf_get_current_task_btf();

	wide = ((struct task_struct___signed *)t)->flags;
	return 0;
}
