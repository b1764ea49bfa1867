// Package propertytest_test loads linked objects into the running kernel.
package propertytest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker/linkertest"
)

const caller = `
int step(u64 *v);
u64 own;
SEC("tc") int prog(void *ctx) { return step(&own); }
char LICENSE[] SEC("license") = "GPL";`

func link(t *testing.T, files ...string) *ebpf.CollectionSpec {
	t.Helper()
	data, err := linker.Link(linkertest.Compile(t, "bpfel", files...), linker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := linkertest.Check(data, true); err != nil {
		t.Fatal(err)
	}
	spec, err := linkertest.Spec(data)
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// The verifier rejects a function of a library: its message has the library's file
// and line.
func TestVerifierLines(t *testing.T) {
	bpftest.NeedsBPF(t)
	spec := link(t, caller, `
__noinline u64 first(u64 x) { return x * 3; }
__hidden __noinline int step(u64 *v)
{
	return v[1000]; // beyond the variable
}
char LICENSE[] SEC("license") = "GPL";`)
	coll, err := ebpf.NewCollection(spec)
	if err == nil {
		coll.Close()
		t.Fatal("the verifier takes a read beyond a variable")
	}
	var verifier *ebpf.VerifierError
	if !errors.As(err, &verifier) {
		t.Fatal(err)
	}
	log := strings.Join(verifier.Log, "\n")
	if !strings.Contains(log, "return v[1000]; // beyond the variable @ 1.c:5") {
		t.Errorf("the message does not have the line:\n%s", log)
	}
}

// A field that the kernel has in another place is found, from a library and after
// code that was left out.
func TestCORE(t *testing.T) {
	bpftest.NeedsBPF(t)
	const task = `
struct task_struct { int before; int pid; int tgid; } __attribute__((preserve_access_index));
`
	spec := link(t, `
__weak __noinline int step(u64 *v) { struct task_struct___dead { int gone; } __attribute__((preserve_access_index)) *t = (void *) v; return __builtin_preserve_field_info(t->gone, 0); }
u64 own;
SEC("tc") int prog(void *ctx) { return step(&own); }
char LICENSE[] SEC("license") = "GPL";`, task+`
__noinline int step(u64 *v)
{
	struct task_struct *t = 0;
	return __builtin_preserve_field_info(t->tgid, 0);
}
char LICENSE[] SEC("license") = "GPL";`)
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer coll.Close()
	got, _, err := coll.Programs["prog"].Test(make([]byte, 64))
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		t.Skipf("needs a kernel with BTF: %v", err)
	}
	var s *btf.Struct
	if err := kernel.TypeByName("task_struct", &s); err != nil {
		t.Fatal(err)
	}
	for _, m := range s.Members {
		if m.Name == "tgid" && m.Offset.Bytes() != got {
			t.Errorf("tgid is at %d, want %d", got, m.Offset.Bytes())
		}
	}
}
