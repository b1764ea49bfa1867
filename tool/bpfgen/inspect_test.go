package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/tool/internal/inspect"
)

const inspectedC = `
#define __ksym __attribute__((section(".ksyms")))
#define CORE __attribute__((preserve_access_index))
struct task_struct { int pid; } CORE;
struct my_ops { int (*init)(void *); int (*run)(void *); int weight; };
typedef struct { int a : 3; int b : 5; struct { long long c; union { int d; char e; }; } inner; } event_t;
struct { __uint(type, 9); __uint(max_entries, 8); __type(key, int); __type(value, event_t); __uint(map_flags, 2); } events SEC(".maps");
static long (*loop)(int, void *, void *, long) = (void *)181;
static long (*probe)(void *, int, const void *) = (void *)113;
static long (*unheard)(void) = (void *)7777;
extern void kfunc_one(void) __ksym;
extern void kfunc_two(void) __ksym __attribute__((weak));
static __attribute__((noinline)) int callback(int i, void *c) { return 0; }
SEC("struct_ops") int init_ops(void *c) { return 0; }
SEC(".struct_ops.link") struct my_ops table = { .init = (void *)init_ops };
SEC("tc") int uses(void *c)
{
	int pid;
	probe(&pid, sizeof(pid), &((struct task_struct *)c)->pid);
	kfunc_one();
	if (kfunc_two)
		kfunc_two();
	return pid + loop(2, callback, 0, 0) + unheard() + (events.type != 0);
}
`

func TestInspect(t *testing.T) {
	t.Chdir(t.TempDir())
	compiled(t, inspectedC)
	text, errs, status := bpfgen("inspect", "x.o")
	if status != 0 || errs != "" {
		t.Fatalf("status %d, %s", status, errs)
	}
	// Columns are as wide as they need.
	text = regexp.MustCompile(` {2,}`).ReplaceAllString(text, "|")
	for _, want := range []string{
		"\ntable|.struct_ops.link|struct my_ops|24|init=init_ops\n",
		"\nevents|LRU_HASH|int (4)|event_t (24)|8|0x2\n",
		"\nevent_t|24|a|bit 0, 3 wide|int\n|b|bit 3, 5 wide|int\n|inner|8|struct (anonymous)\n|inner.c|8|long long\n|inner.d|16|int\n|inner.e|16|char\n",
		"\nx.bpf.c|3|",
		"\nbpf_loop|5.17|bpf.h of Linux 5.17\n",
		"\nbpf_probe_read_kernel|4.1|bpf_probe_read stands for it before 5.5\n",
		"\nhelper 7777|unknown|bpf.h of Linux ",
		"\nkfunc kfunc_one|unknown|no header lists kfuncs: ask a kernel's BTF\n",
		"\nBPF_F_NO_COMMON_LRU|4.10|",
		"\nCO-RE|5.4|",
		"\nkfunc_two|kfunc|yes\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "kfunc kfunc_two") {
		t.Error("a weak kfunc is needed")
	}
	// The image says the same.
	if _, errs, status := bpfgen("image", "-o", "x.image", "x.o"); status != 0 {
		t.Fatal(errs)
	}
	object, _, _ := bpfgen("inspect", "-json", "x.o")
	if img, errs, status := bpfgen("inspect", "-json", "x.image"); status != 0 || img != object {
		t.Errorf("status %d, %s; the image has another report:\n%s", status, errs, img)
	}
	image, err := os.ReadFile("x.image")
	if err != nil {
		t.Fatal(err)
	}
	write(t, "cut.image", string(image[:len(image)-1]))
	for _, tt := range []struct{ file, want string }{
		{"none.o", "bpfgen: none.o: no such file or directory\n"},
		{"x.bpf.c", "bpfgen: x.bpf.c: not an ELF file"},
		{"cut.image", "bpfgen: cut.image: "},
	} {
		if _, errs, status := bpfgen("inspect", tt.file); status != 1 || !strings.HasPrefix(errs, tt.want) {
			t.Errorf("%s: status %d, %s", tt.file, status, errs)
		}
	}
}

func TestDiff(t *testing.T) {
	t.Chdir(t.TempDir())
	compiled(t, inspectedC)
	if err := os.Rename("x.o", "old.o"); err != nil {
		t.Fatal(err)
	}
	compiled(t, strings.Replace(inspectedC, "int b : 5;", "int b : 6;", 1))
	if _, errs, status := bpfgen("image", "-o", "x.image", "x.o"); status != 0 {
		t.Fatal(errs)
	}
	const want = "CONCERNS  CHANGE   WHAT                       OLD            NEW\ndata      changed  member event_t: b, offset  bit 3, 5 wide  bit 3, 6 wide\n"
	for _, latest := range []string{"x.o", "x.image"} {
		if out, errs, status := bpfgen("diff", "old.o", latest); status != 1 || errs != "" || out != want {
			t.Errorf("%s: status %d, %s%s", latest, status, errs, out)
		}
		if out, errs, status := bpfgen("diff", "x.o", latest); status != 0 || errs != "" || out != "" {
			t.Errorf("%s: status %d, %s%s", latest, status, errs, out)
		}
	}
	out, _, _ := bpfgen("diff", "-json", "old.o", "x.o")
	var diff inspect.Diff
	if err := json.Unmarshal([]byte(out), &diff); err != nil || len(diff.Changes) != 1 || diff.Changes[0].Concern != inspect.Data {
		t.Errorf("%v: %s", err, out)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"x.o"}, "bpfgen: diff: 1 objects given, want 2: usage: bpfgen diff [-json] OLD NEW\n"},
		{[]string{"x.o", "none.o"}, "bpfgen: none.o: no such file or directory\n"},
		{[]string{"-x", "x.o", "x.o"}, "bpfgen: diff: flag provided but not defined: -x: usage: "},
	} {
		if _, errs, status := bpfgen(append([]string{"diff"}, tt.args...)...); status != 2 || !strings.HasPrefix(errs, tt.want) {
			t.Errorf("%q: status %d, %s", tt.args, status, errs)
		}
	}
}
