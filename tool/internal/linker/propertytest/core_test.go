package propertytest_test

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker/linkertest"
)

const corePrelude = `
#define CORE __attribute__((preserve_access_index))
#define READ(p, member) ({ typeof((p)->member) v = 0; probe_read(&v, sizeof(v), &(p)->member); v; })
static void *(*current)(void) = (void *) 35;
static long (*probe_read)(void *to, u32 n, const void *from) = (void *) 113;
char LICENSE[] SEC("license") = "GPL";
`

// A library and its users each declare the part of a kernel's struct that they
// know. In each order of the files, all of them read what the kernel has: variables
// called pid... the thread's number, tgid... the process's, and one... 1.
func TestCOREViews(t *testing.T) {
	bpftest.NeedsBPF(t)
	for name, files := range map[string][]string{
		"function": {`
struct task_struct { int pid; unsigned flags; int tgid; } CORE;
extern __hidden int library(struct task_struct *t);
int pid, tgid, tgid_of_library;
SEC("tc") int prog(void *ctx)
{
	struct task_struct *t = current();
	pid = READ(t, pid);
	tgid = READ(t, tgid);
	tgid_of_library = library(t);
	return 0;
}`, `
struct task_struct { int tgid; int pid; unsigned flags; } CORE;
__hidden __noinline int library(struct task_struct *t) { return t ? READ(t, tgid) : 0; }`},
		"variables": {`
struct task_struct { int pid; int own; } CORE;
struct holder { struct task_struct *tasks[2]; };
extern struct task_struct *kept;
extern struct holder holder;
int pid, pid_of_holder;
SEC("tc") int prog(void *ctx) { pid = READ(kept, pid); pid_of_holder = READ(holder.tasks[1], pid); return 0; }`, `
struct task_struct { char comm[16]; int tgid, pid; } CORE;
struct holder { struct task_struct *tasks[2]; };
struct task_struct *kept;
struct holder holder;
int tgid;
SEC("tc") int a_first(void *ctx)
{
	kept = holder.tasks[0] = holder.tasks[1] = current();
	tgid = READ(kept, tgid);
	return 0;
}`},
		"three files and flavours": {`
struct task_struct { int pid; } CORE;
struct task_struct___old { long state; int tgid; } CORE;
extern __hidden int second(struct task_struct *t);
extern __hidden int third(struct task_struct *t);
int tgid, tgid_of_second, pid_of_third;
SEC("tc") int prog(void *ctx)
{
	struct task_struct___old *t = current();
	tgid = READ(t, tgid);
	tgid_of_second = second((void *) t);
	pid_of_third = third((void *) t);
	return 0;
}`, `
struct task_struct { int tgid; long gone; } CORE;
extern __hidden int third(struct task_struct *t);
int pid_by_second;
__hidden __noinline int second(struct task_struct *t) { pid_by_second = third(t); return READ(t, tgid); }`, `
struct task_struct;
struct task_struct___old { long other[3]; int pid; } CORE;
__hidden __noinline int third(struct task_struct *t) { struct task_struct___old *old = (void *) t; return READ(old, pid); }`},
		"types and enums": {`
struct task_struct { int pid; } CORE;
enum pid_type { PIDTYPE_TGID = 40 };
extern __hidden int library(struct task_struct *t, enum pid_type type);
int one_value, one_has;
SEC("tc") int prog(void *ctx)
{
	one_value = __builtin_preserve_enum_value(*(typeof(enum pid_type) *) PIDTYPE_TGID, 1);
	one_has = library(current(), 0);
	return 0;
}`, `
struct task_struct { int tgid; } CORE;
enum pid_type { PIDTYPE_PID = 20, PIDTYPE_TGID = 30 };
int tgid, one_size, one_value_of_library;
__hidden __noinline int library(struct task_struct *t, enum pid_type type)
{
	tgid = READ(t, tgid);
	one_size = __builtin_preserve_type_info(*(struct task_struct *) 0, 1) > 4;
	one_value_of_library = __builtin_preserve_enum_value(*(typeof(enum pid_type) *) PIDTYPE_TGID, 1);
	return __builtin_preserve_type_info(*(struct task_struct *) 0, 0);
}`},
		"arrays, unions and typedefs": {`
struct upid { int nr; } CORE;
struct pid { struct upid numbers[1]; } CORE;
struct task_struct { struct pid *thread_pid; union { int pid; int other; }; } CORE;
typedef struct task_struct *task_t;
typedef union { task_t task; void *raw; } either_t;
extern __hidden int library(either_t *e, struct pid *p);
int tgid, pid;
SEC("tc") int prog(void *ctx)
{
	either_t e = { .raw = current() };
	pid = READ(e.task, pid);
	tgid = library(&e, 0);
	return 0;
}`, `
struct upid { void *ns; int nr; } CORE;
struct pid { int level; struct upid numbers[1]; } CORE;
typedef struct { int val; } kuid_t;
struct cred { kuid_t uid; } CORE;
struct task_struct { struct pid *thread_pid; int tgid; struct cred *cred; } CORE;
typedef struct task_struct *task_t;
typedef union { task_t task; void *raw; } either_t;
int one_level, one_uid;
__hidden __noinline int library(either_t *e, struct pid *unused)
{
	struct pid *p = READ(e->task, thread_pid);
	one_level = READ(p, numbers[0].nr) > 0;
	struct cred *cred = READ(e->task, cred);
	one_uid = READ(cred, uid.val) == 0;
	return READ(e->task, tgid);
}`},
	} {
		t.Run(name, func(t *testing.T) {
			var sources []string
			for _, text := range files {
				sources = append(sources, corePrelude+text)
			}
			inputs := linkertest.Compile(t, "bpfel", sources...)
			for n, order := range permutations(inputs) {
				t.Run(fmt.Sprint(n), func(t *testing.T) { checkViews(t, order) })
			}
		})
	}
}

func checkViews(t *testing.T, inputs []linker.Input) {
	data, err := linker.Link(inputs, linker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := linkertest.Check(data, true); err != nil {
		t.Error(err)
	}
	spec, err := linkertest.Spec(data)
	if err != nil {
		t.Fatal(err)
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer coll.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, prog := range []string{"a_first", "prog"} {
		if p := coll.Programs[prog]; p != nil {
			if _, _, err := p.Test(make([]byte, 64)); err != nil {
				t.Fatal(err)
			}
		}
	}
	checked := 0
	for prefix, want := range map[string]int{"pid": unix.Gettid(), "tgid": os.Getpid(), "one": 1} {
		for name, v := range coll.Variables {
			if !strings.HasPrefix(name, prefix) {
				continue
			}
			checked++
			var got int32
			if err := v.Get(&got); err != nil {
				t.Fatal(err)
			}
			if int(got) != want {
				t.Errorf("%s is %d, want %d", name, got, want)
			}
		}
	}
	if checked == 0 {
		t.Error("no variable was compared")
	}
}

// permutations returns the inputs in each order.
func permutations(inputs []linker.Input) [][]linker.Input {
	if len(inputs) < 2 {
		return [][]linker.Input{inputs}
	}
	var all [][]linker.Input
	for i, first := range inputs {
		rest := slices.Concat(inputs[:i:i], inputs[i+1:])
		for _, p := range permutations(rest) {
			all = append(all, append([]linker.Input{first}, p...))
		}
	}
	return all
}
