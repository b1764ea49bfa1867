package loadform_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/tool/internal/linker/linkertest"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

func must(t testing.TB, data []byte) []byte {
	t.Helper()
	out, err := linkertest.Final(data)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func load(t testing.TB, data []byte) *ebpf.CollectionSpec {
	t.Helper()
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// A static variable that shares its name with a global one is another variable, for
// the loader too.
func TestStaticVariables(t *testing.T) {
	f := &File{Linked: true, Vars: []Var{
		{Section: ".data", Name: "shown", Type: U32, Static: true, Value: []byte{11}},
		{Section: ".data", Name: "shown", Type: U32, Value: []byte{22}},
		{Section: ".data", Name: "shown", Type: U32, Static: true, Value: []byte{33}},
		{Section: ".data", Name: "shown_1", Type: U32, Value: []byte{44}},
		{Section: ".data", Name: "own", Type: U32, Static: true},
	}, Programs: []Program{{Name: "prog", Section: "xdp", Refs: []string{"shown_1"}}}}
	data := f.Build()
	if _, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(data)); err == nil {
		t.Error("the loader takes it as it is: the rule is not needed")
	}
	obj := must(t, data)
	spec := load(t, obj)
	for name, want := range map[string]byte{"shown": 22, "shown_1": 44} {
		if v := spec.Variables[name]; v == nil || v.Value[0] != want || v.Type == nil {
			t.Errorf("%s: the loader has %+v", name, v)
		}
	}
	ds, ok := spec.Maps[".data"].Value.(*btf.Datasec)
	if !ok {
		t.Fatal("no list of variables")
	}
	var names []string
	for _, v := range ds.Vars {
		names = append(names, v.Type.TypeName())
	}
	if want := []string{"shown_2", "shown", "shown_3", "shown_1", "own"}; !slices.Equal(names, want) {
		t.Errorf("BTF has %q, want %q", names, want)
	}
	if again := must(t, obj); !bytes.Equal(again, obj) {
		t.Error("an object in the form of a skeleton changes again")
	}
}

const source = `
#define SEC(name) __attribute__((section(name), used))
typedef unsigned int u32;
struct task_struct { int pid; int tgid; } __attribute__((preserve_access_index));
struct { int (*type)[1]; int (*max_entries)[16]; u32 *key; u32 *value; } counts SEC(".maps");
static void *(*lookup)(void *map, const void *key) = (void *)1;
static const volatile u32 limit = 3;
u32 seen;
static __attribute__((noinline)) int helper(u32 n) { return n > limit ? seen : limit; }
__attribute__((noinline)) int global_helper(struct task_struct *t) { return t ? t->tgid : 0; }
SEC("tp_btf/sched_process_exec") int on_exec(unsigned long long *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	u32 key = task->tgid;
	u32 *n = lookup(&counts, &key);
	if (n)
		*n += helper(key);
	seen++;
	return 0;
}
SEC("xdp") int pass(void *ctx) { return helper(seen); }
char _license[] SEC("license") = "GPL";
`

// What the loader takes as it is, it must read the same of the embedded object:
// instructions with their lines of source, their functions and relocations, maps
// and variables.
func TestClang(t *testing.T) {
	clang, err := exec.LookPath("clang")
	if err != nil {
		t.Skip("needs clang on PATH")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.c"), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"bpfel", "bpfeb"} {
		t.Run(target, func(t *testing.T) {
			cmd := exec.Command(clang, "-g", "-O2", "-mcpu=v3", "-target", target, "-c", "p.c", "-o", "p.o")
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			data, err := os.ReadFile(filepath.Join(dir, "p.o"))
			if err != nil {
				t.Fatal(err)
			}
			obj := must(t, data)
			want, got := describe(load(t, data)), describe(load(t, obj))
			if got != want {
				t.Errorf("the loader reads\n%s\nand of the object as it was\n%s", got, want)
			}
			if !strings.Contains(want, "u32 key = task->tgid;") || !strings.Contains(want, "CORERelocation") {
				t.Errorf("the object has no lines or no CO-RE relocations: the test shows nothing:\n%s", want)
			}
			if len(obj) > len(data)*3/4 {
				t.Errorf("%d of %d bytes are left", len(obj), len(data))
			}
		})
	}
}

func describe(spec *ebpf.CollectionSpec) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(spec.Programs)) {
		p := spec.Programs[name]
		fmt.Fprintf(&b, "program %s %s %s\n", name, p.SectionName, p.License)
		for _, ins := range p.Instructions {
			fmt.Fprintf(&b, "%+v | %v | %v | %v\n", ins, ins.Source(), btf.FuncMetadata(&ins), btf.CORERelocationMetadata(&ins))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Maps)) {
		m := spec.Maps[name]
		fmt.Fprintf(&b, "map %s %s %v %v %v\n", name, m, m.Key, m.Value, m.Contents)
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Variables)) {
		fmt.Fprintf(&b, "variable %+v\n", spec.Variables[name])
	}
	return b.String()
}

// Static functions of several files may have one name, also that of a program. The reader
// finds functions by their names.
func TestStaticFunctions(t *testing.T) {
	obj := must(t, (&File{Programs: []Program{
		{Name: "f", Section: ".text", Static: true},
		{Name: "f", Section: "xdp", Static: true},
		{Name: "f.1", Section: "tc"},
		{Name: "p", Section: "xdp"},
	}}).Build())
	want := []string{"f.1", "f.2", "p"}
	if got := slices.Sorted(maps.Keys(load(t, obj).Programs)); !slices.Equal(got, want) {
		t.Errorf("programs %q, want %q", got, want)
	}
}

func TestErrors(t *testing.T) {
	bad := &File{NoBTF: true, Sections: []Section{{Name: ".BTF", Type: elf.SHT_PROGBITS, Data: make([]byte, 24)}}}
	if _, err := linkertest.Final(bad.Build()); err == nil || !strings.Contains(err.Error(), "section .BTF: is damaged") {
		t.Errorf("got the error %v", err)
	}
}

// FuzzFinal: no panic, and what comes out stays as it is.
func FuzzFinal(f *testing.F) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, linked := range []bool{false, true} {
			file := &File{
				Order: order, Linked: linked,
				Programs: []Program{{Name: "prog", Section: "xdp", Refs: []string{"counts", "limit"}}, {Name: "prog", Section: ".text", Static: true}},
				Vars: []Var{
					{Section: ".rodata", Name: "limit", Type: Const(U32)},
					{Section: ".rodata", Name: "limit", Type: Const(U32), Static: true},
					{Section: ".maps", Name: "counts", Type: Map(1, 16, U32, U64), Weak: true},
				},
			}
			f.Add(file.Build())
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := linkertest.Final(data)
		if err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == '\ufffd' }) {
				t.Errorf("error that is not readable: %q", err)
			}
			return
		}
		again, err := linkertest.Final(out)
		if err != nil {
			t.Fatalf("what Final has made is not read: %v", err)
		}
		if !bytes.Equal(again, out) {
			t.Error("what Final has made changes again")
		}
	})
}
