// Every kind of CO-RE relocation, on types that all kernels have and on some that none
// has. The test compares the values with those that libbpf comes to.

#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "GPL";

#define CORE __attribute__((preserve_access_index))

/* Partial views of the kernel's types, and flavours of them. */
struct list_head {
	struct list_head *next, *prev;
} CORE;

struct task_struct {
	int pid;
	int tgid;
	struct task_struct *group_leader;
	struct list_head tasks;
	char comm[16];
	unsigned int flags;
} CORE;

struct task_struct___gone {
	int no_such_member;
	struct list_head no_such_list;
} CORE;

/* Members whose types differ from the kernel's. */
struct task_struct___other {
	struct list_head *comm;
	struct task_struct *tasks;
	long pid;
	struct no_such_type *group_leader;
} CORE;

struct task_struct___short {
	char comm[8];
} CORE;

struct no_such_type {
	int member;
} CORE;

/* A bit-field, and what is in an anonymous struct of the kernel's. */
struct sk_buff {
	__u8 pkt_type : 3;
	__u8 cloned : 1;
	__u8 nohdr : 1;
	unsigned int len;
} CORE;

struct mm_struct {
	unsigned long start_code;
} CORE;

/* Here it is in an anonymous union of the program's. */
struct mm_struct___nested {
	long before;
	union {
		struct {
			unsigned long start_code;
		};
		int unused;
	};
} CORE;

struct hlist_head {
	void *first;
} CORE;

struct pid {
	struct hlist_head tasks[4];
	int level;
	struct {
		int nr;
	} numbers[];
} CORE;

typedef struct {
	int counter;
} atomic_t;
typedef struct {
	long counter;
} atomic_t___wrong;
typedef int no_such_typedef;

enum pid_type {
	PIDTYPE_PID = 100,
	PIDTYPE_TGID = 101,
	NO_SUCH_PIDTYPE = 102,
};
enum pid_type___flavour {
	PIDTYPE_SID___flavour = 77,
};

typedef int (*initcall_t)(void);
typedef void (*initcall_t___other)(int);

__s64 values[80];
int count;
bool ran;

#define RECORD(value)                               \
	do {                                        \
		values[n] = (value);                \
		n++;                                \
	} while (0)

SEC("raw_tp/sys_enter")
int record(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	int n = 0;

	if (ran)
		return 0;
	ran = true;

	/* 0: types */
	RECORD(bpf_core_type_exists(struct task_struct));
	RECORD(bpf_core_type_exists(struct no_such_type));
	RECORD(bpf_core_type_exists(no_such_typedef));
	RECORD(bpf_core_type_size(struct task_struct));
	RECORD(bpf_core_type_size(struct no_such_type));
	RECORD(bpf_core_type_size(struct task_struct___gone));
	RECORD(bpf_core_type_id_kernel(struct task_struct));
	RECORD(bpf_core_type_id_kernel(struct no_such_type));
	RECORD(bpf_core_type_exists(initcall_t));
	RECORD(bpf_core_type_exists(initcall_t___other));

	/* 10: types that match */
	RECORD(bpf_core_type_matches(struct task_struct));
	RECORD(bpf_core_type_matches(struct task_struct___gone));
	RECORD(bpf_core_type_matches(struct task_struct___other));
	RECORD(bpf_core_type_matches(struct task_struct___short));
	RECORD(bpf_core_type_matches(atomic_t));
	RECORD(bpf_core_type_matches(atomic_t___wrong));
	RECORD(bpf_core_type_matches(enum pid_type___flavour));
	RECORD(bpf_core_type_matches(enum pid_type));
	RECORD(bpf_core_type_matches(initcall_t));
	RECORD(bpf_core_type_matches(struct list_head));

	/* 20: values of enums */
	RECORD(bpf_core_enum_value_exists(enum pid_type, PIDTYPE_TGID));
	RECORD(bpf_core_enum_value_exists(enum pid_type, NO_SUCH_PIDTYPE));
	RECORD(bpf_core_enum_value(enum pid_type, PIDTYPE_TGID));
	RECORD(bpf_core_enum_value(enum pid_type, PIDTYPE_PID));
	RECORD(bpf_core_enum_value(enum pid_type___flavour, PIDTYPE_SID___flavour));
	if (bpf_core_enum_value_exists(enum pid_type, NO_SUCH_PIDTYPE))
		RECORD(bpf_core_enum_value(enum pid_type, NO_SUCH_PIDTYPE));
	else
		RECORD(-1);

	/* 26: fields */
	RECORD(bpf_core_field_exists(struct task_struct, pid));
	RECORD(bpf_core_field_exists(struct task_struct___gone, no_such_member));
	RECORD(bpf_core_field_exists(struct task_struct___other, comm));
	RECORD(bpf_core_field_exists(struct task_struct___other, tasks));
	RECORD(bpf_core_field_exists(struct task_struct___other, pid));
	RECORD(bpf_core_field_exists(struct task_struct___other, group_leader));
	RECORD(bpf_core_field_exists(task->group_leader->tgid));
	RECORD(bpf_core_field_exists(struct no_such_type, member));
	RECORD(bpf_core_field_offset(struct task_struct, pid));
	RECORD(bpf_core_field_offset(struct task_struct, tasks.prev));
	RECORD(bpf_core_field_offset(struct task_struct, comm[3]));
	RECORD(bpf_core_field_size(struct task_struct, comm));
	RECORD(bpf_core_field_size(struct task_struct___short, comm));
	RECORD(bpf_core_field_size(struct task_struct___other, pid));
	RECORD(bpf_core_field_size(struct task_struct, comm[1]));
	RECORD(bpf_core_field_offset(struct mm_struct, start_code));
	RECORD(bpf_core_field_offset(struct mm_struct___nested, start_code));
	RECORD(bpf_core_field_offset(struct pid, tasks[1].first));
	/* An array of one element in older kernels, a flexible one in newer. */
	RECORD(bpf_core_field_offset(struct pid, numbers[0].nr));
	RECORD(bpf_core_field_size(struct pid, numbers[0]));

	/* 46: how fields are read */
	{
		struct sk_buff *skb = 0;

		RECORD(__builtin_preserve_field_info(skb->cloned, BPF_FIELD_LSHIFT_U64));
		RECORD(__builtin_preserve_field_info(skb->cloned, BPF_FIELD_RSHIFT_U64));
		RECORD(__builtin_preserve_field_info(skb->cloned, BPF_FIELD_BYTE_SIZE));
		RECORD(__builtin_preserve_field_info(skb->cloned, BPF_FIELD_SIGNED));
		RECORD(__builtin_preserve_field_info(skb->cloned, BPF_FIELD_BYTE_OFFSET));
		RECORD(__builtin_preserve_field_info(skb->len, BPF_FIELD_LSHIFT_U64));
		RECORD(__builtin_preserve_field_info(skb->len, BPF_FIELD_RSHIFT_U64));
		RECORD(__builtin_preserve_field_info(task->pid, BPF_FIELD_SIGNED));
		RECORD(__builtin_preserve_field_info(task->flags, BPF_FIELD_SIGNED));
	}

	/* 55: what is there. The same for every process that the test looks at. */
	RECORD(BPF_CORE_READ(task, tgid) == (int)(bpf_get_current_pid_tgid() >> 32));
	RECORD(BPF_CORE_READ(task, group_leader, pid) == BPF_CORE_READ(task, tgid));
	count = n;
	return 0;
}
