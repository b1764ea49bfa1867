// Forty programs with CO-RE relocations, of a dozen kernel structs.
#include <vmlinux.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

__u64 sum;

#define PROGRAM(n)                                                                 \
	SEC("tp_btf/task_rename")                                                  \
	int BPF_PROG(on_rename_##n, struct task_struct *task)                      \
	{                                                                          \
		sum += BPF_CORE_READ(task, real_parent, tgid);                     \
		sum += BPF_CORE_READ(task, real_parent, real_parent, pid);         \
		sum += BPF_CORE_READ(task, group_leader, start_time);              \
		sum += BPF_CORE_READ(task, mm, start_code);                        \
		sum += (__u64)BPF_CORE_READ(task, mm, pgd);                        \
		sum += BPF_CORE_READ(task, files, next_fd);                        \
		sum += BPF_CORE_READ(task, fs, umask);                             \
		sum += BPF_CORE_READ(task, nsproxy, uts_ns, name.nodename[0]);     \
		sum += BPF_CORE_READ(task, signal, leader);                        \
		sum += BPF_CORE_READ(task, cred, uid.val);                         \
		sum += BPF_CORE_READ(task, sighand, count.refs.counter);           \
		sum += (__u64)BPF_CORE_READ(task, nsproxy, mnt_ns);                \
		sum += bpf_core_field_exists(task->on_cpu);                        \
		sum += bpf_core_enum_value_exists(enum bpf_map_type, BPF_MAP_TYPE_ARENA); \
		return 0;                                                          \
	}

#define TEN(m, tens) \
	m(tens##0) m(tens##1) m(tens##2) m(tens##3) m(tens##4) m(tens##5) m(tens##6) m(tens##7) m(tens##8) m(tens##9)

TEN(PROGRAM, 0)
TEN(PROGRAM, 1)
TEN(PROGRAM, 2)
TEN(PROGRAM, 3)
