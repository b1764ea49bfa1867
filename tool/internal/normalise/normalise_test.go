package normalise_test

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

	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/normalise"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

// everything is an object to which every rule applies. The loader rejects it.
func everything() *File {
	return &File{
		License: "GPL",
		Programs: []Program{
			{Name: "prog", Section: "xdp", Refs: []string{"cleared", "CONFIG_HZ", "CONFIG_ABSENT", "LINUX_KERNEL_VERSION", "counts", "limit", "symbol"}},
			{Name: "helper", Section: ".text", Static: true},
			{Name: "helper", Section: "tc", Static: true},
			{Name: "prog", Section: "tc", Static: true},
			{Name: "other", Section: "tc"},
		},
		Vars: []Var{
			{Section: ".rodata", Name: "limit", Type: Const(U32), Value: []byte{1, 2, 3, 4}},
			{Section: ".bss.a_section_with_a_long_name", Name: "cleared", Type: U64},
			{Section: ".bss", Name: "plain", Type: U32},
			{Section: ".maps", Name: "counts", Type: Map(1, 16, U32, U64), Weak: true},
			{Section: ".kconfig", Name: "CONFIG_BPF", Type: Bool, Extern: true},
			{Section: ".kconfig", Name: "CONFIG_HZ", Type: Const(Typedef("u32", U32)), Extern: true},
			{Section: ".kconfig", Name: "CONFIG_ABSENT", Type: U64, Extern: true, Weak: true},
			{Section: ".kconfig", Name: "CONFIG_VERSION", Type: Array(Char, 5), Extern: true, Weak: true},
			{Section: ".kconfig", Name: "LINUX_KERNEL_VERSION", Type: S32, Extern: true},
			{Section: ".ksyms", Name: "symbol", Type: Const((*btf.Void)(nil)), Extern: true, Weak: true},
		},
		Sections: []Section{
			{Name: ".debug_info", Type: elf.SHT_PROGBITS, Data: make([]byte, 4096)},
			{Name: ".llvm_addrsig", Type: 0x6fff4c03, Data: []byte{1}},
			{Name: ".comment", Type: elf.SHT_PROGBITS, Data: []byte("clang")},
		},
	}
}

func must(t testing.TB, data []byte) *normalise.Object {
	t.Helper()
	obj, err := normalise.Bytes(data)
	if err != nil {
		t.Fatal(err)
	}
	return obj
}

func load(t testing.TB, data []byte) *ebpf.CollectionSpec {
	t.Helper()
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func TestEverything(t *testing.T) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, linked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v linked=%v", order, linked), func(t *testing.T) {
				f := everything()
				f.Order, f.Linked = order, linked
				data := f.Build()
				if _, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(data)); err == nil {
					t.Error("the loader takes the object as it is: the test has nothing to show")
				}
				checkEverything(t, must(t, data), order)
			})
		}
	}
}

func checkEverything(t *testing.T, obj *normalise.Object, order binary.ByteOrder) {
	spec := load(t, obj.ELF)
	if spec.ByteOrder != order {
		t.Errorf("byte order %s", spec.ByteOrder)
	}
	if got, want := obj.Section(".bss.a_section_with_a_long_name"), ".data.bss.a_section_with_a_long_name"; got != want {
		t.Errorf("the section is called %s, want %s", got, want)
	}
	if got := obj.Section(".bss"); got != ".bss" {
		t.Errorf(".bss is called %s", got)
	}
	want := []string{".bss", ".data.bss.a_section_with_a_long_name", ".rodata", ".rodata.kconfig", "counts"}
	if got := slices.Sorted(maps.Keys(spec.Maps)); !slices.Equal(got, want) {
		t.Errorf("maps %q, want %q", got, want)
	}
	// A static function with a section of its own is a program to the loader.
	want = []string{"helper.1", "other", "prog", "prog.1"}
	if got := slices.Sorted(maps.Keys(spec.Programs)); !slices.Equal(got, want) {
		t.Errorf("programs %q, want %q", got, want)
	}
	offsets := map[string]uint64{"CONFIG_BPF": 0, "CONFIG_HZ": 4, "CONFIG_ABSENT": 8, "CONFIG_VERSION": 16, "LINUX_KERNEL_VERSION": 24}
	if obj.Kconfig == nil || !maps.Equal(obj.Kconfig.Offsets, offsets) || obj.Kconfig.Size != 28 {
		t.Errorf("kconfig is laid out as %v, want %v", obj.Kconfig, offsets)
	}
	for name, offset := range offsets {
		if v := spec.Variables[name]; v == nil || uint64(v.Offset) != offset || v.SectionName != ".rodata.kconfig" || v.Type == nil || v.Type.Linkage != btf.GlobalVar {
			t.Errorf("%s: the loader has %+v", name, v)
		}
	}
	for _, m := range []struct {
		name string
		size int
	}{{".data.bss.a_section_with_a_long_name", 8}, {".rodata.kconfig", 28}} {
		ms := spec.Maps[m.name]
		if contents, _ := ms.Contents[0].Value.([]byte); !bytes.Equal(contents, make([]byte, m.size)) {
			t.Errorf("%s holds %x, want %d zeros", m.name, contents, m.size)
		}
		if ds, ok := ms.Value.(*btf.Datasec); !ok || ds.Name != m.name || int(ds.Size) != m.size {
			t.Errorf("%s has the BTF %v", m.name, ms.Value)
		}
	}
	refs := make(map[string]bool)
	for _, ins := range spec.Programs["prog"].Instructions {
		if ref := ins.Reference(); ref != "" {
			refs[fmt.Sprintf("%s+%d", ref, ins.Constant>>32)] = true
		}
	}
	for _, want := range []string{"counts+0", ".data.bss.a_section_with_a_long_name+0", ".rodata+0", ".rodata.kconfig+4", ".rodata.kconfig+8", ".rodata.kconfig+24", "symbol+0"} {
		if !refs[want] {
			t.Errorf("no instruction refers to %s, but to %v", want, refs)
		}
	}
	file, err := elf.NewFile(bytes.NewReader(obj.ELF))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".debug_info", ".llvm_addrsig", ".comment", ".rel.BTF"} {
		if file.Section(name) != nil {
			t.Errorf("section %s is left", name)
		}
	}
	if again := must(t, obj.ELF); !bytes.Equal(again.ELF, obj.ELF) {
		t.Error("an object that was normalised changes when it is normalised again")
	}
	if _, err := bpfobj.Read("again.bpf.o", obj.ELF); err != nil {
		t.Error(err)
	}
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
	spec := load(t, obj.ELF)
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
	if again := must(t, obj.ELF); !bytes.Equal(again.ELF, obj.ELF) {
		t.Error("an object that was normalised changes when it is normalised again")
	}
}

// Names that are taken.
func TestTaken(t *testing.T) {
	obj := must(t, (&File{
		Programs: []Program{
			{Name: "f", Section: ".text", Static: true},
			{Name: "f", Section: "xdp", Static: true},
			{Name: "f.1", Section: "tc"},
			{Name: "p", Section: "xdp"},
		},
		Vars: []Var{
			{Section: ".data.bss.x", Name: "a", Type: U32},
			{Section: ".bss.x", Name: "b", Type: U32},
			{Section: ".rodata.kconfig", Name: "c", Type: Const(U32)},
			{Section: ".kconfig", Name: "CONFIG_HZ", Type: U32, Extern: true},
		},
	}).Build())
	spec := load(t, obj.ELF)
	want := []string{".data.bss.x", ".data.bss.x_", ".rodata.kconfig", ".rodata.kconfig_"}
	if got := slices.Sorted(maps.Keys(spec.Maps)); !slices.Equal(got, want) {
		t.Errorf("maps %q, want %q", got, want)
	}
	if got := spec.Variables["b"].SectionName; got != obj.Section(".bss.x") {
		t.Errorf("b is in %s, and the section is said to be %s", got, obj.Section(".bss.x"))
	}
	want = []string{"f.1", "f.2", "p"}
	if got := slices.Sorted(maps.Keys(spec.Programs)); !slices.Equal(got, want) {
		t.Errorf("programs %q, want %q", got, want)
	}
}

func TestErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"empty":    {nil, "not an ELF file"},
		"text":     {[]byte(strings.Repeat("text", 100)), "not an ELF file"},
		"cut":      {everything().Build()[:2000], "damaged or cut short"},
		"x86":      {(&File{Header: func(h *elf.Header64) { h.Machine = uint16(elf.EM_X86_64) }}).Build(), "not an object file for BPF"},
		"overlap":  {Overlap(everything().Build()), "damaged or cut short"},
		"bad btf":  {(&File{NoBTF: true, Sections: []Section{{Name: ".BTF", Type: elf.SHT_PROGBITS, Data: make([]byte, 24)}}}).Build(), "section .BTF: is damaged"},
		"big kcfg": {(&File{Vars: []Var{{Section: ".kconfig", Name: "CONFIG_X", Type: Array(Char, 2<<20), Extern: true}}}).Build(), "which no kconfig value has"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := normalise.Bytes(tt.data); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got the error %v, want one with %q", err, tt.want)
			}
		})
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

// What the loader takes as it is, it must read the same of the normalised object:
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
			want, got := describe(load(t, data)), describe(load(t, obj.ELF))
			if got != want {
				t.Errorf("the loader reads\n%s\nand of the object as it was\n%s", got, want)
			}
			if !strings.Contains(want, "u32 key = task->tgid;") || !strings.Contains(want, "CORERelocation") {
				t.Errorf("the object has no lines or no CO-RE relocations: the test shows nothing:\n%s", want)
			}
			if len(obj.ELF) > len(data)*3/4 {
				t.Errorf("%d of %d bytes are left", len(obj.ELF), len(data))
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

// FuzzBytes: no panic, and what comes out stays as it is.
func FuzzBytes(f *testing.F) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, linked := range []bool{false, true} {
			file := everything()
			file.Order, file.Linked = order, linked
			f.Add(file.Build())
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		obj, err := normalise.Bytes(data)
		if err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == '\ufffd' }) {
				t.Errorf("error that is not readable: %q", err)
			}
			return
		}
		again, err := normalise.Bytes(obj.ELF)
		if err != nil {
			t.Fatalf("what was normalised is not read: %v", err)
		}
		if !bytes.Equal(again.ELF, obj.ELF) {
			t.Error("what was normalised changes again")
		}
	})
}

func BenchmarkBytes(b *testing.B) {
	f := everything()
	for i := range 1000 {
		f.Vars = append(f.Vars, Var{Section: ".data", Name: fmt.Sprintf("variable_%d", i), Type: U64})
	}
	data := f.Build()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		must(b, data)
	}
}

func TestTypedKsyms(t *testing.T) {
	obj := must(t, (&File{
		License:  "GPL",
		Programs: []Program{{Name: "prog", Section: "xdp", Refs: []string{"typed", "weak", "untyped"}}},
		Vars: []Var{
			{Section: ".ksyms", Name: "typed", Type: Const(S32), Extern: true},
			{Section: ".ksyms", Name: "untyped", Type: Const((*btf.Void)(nil)), Extern: true},
			{Section: ".ksyms", Name: "weak", Type: Struct("thing", M("a", U32)), Extern: true, Weak: true},
		},
	}).Build())
	spec := load(t, obj.ELF)
	var got []string
	for _, k := range obj.Ksyms {
		typ, err := spec.Types.TypeByID(btf.TypeID(k.Type))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %v %v", k.Name, btf.UnderlyingType(typ).TypeName(), k.Weak))
	}
	if want := []string{"typed " + S32.Name + " false", "weak thing true"}; !slices.Equal(got, want) {
		t.Errorf("typed ksyms are %q, want %q", got, want)
	}
	if again := must(t, obj.ELF); !bytes.Equal(again.ELF, obj.ELF) || again.Ksyms != nil {
		t.Errorf("the second time, there are the typed ksyms %v", again.Ksyms)
	}
}

func TestArena(t *testing.T) {
	obj := must(t, (&File{
		License:  "GPL",
		Programs: []Program{{Name: "prog", Section: "xdp", Refs: []string{"first", "second"}}},
		Vars: []Var{
			{Section: ".addr_space.1", Name: "first", Type: U32, Value: []byte{1, 2, 3, 4}},
			{Section: ".addr_space.1", Name: "second", Type: U64},
			{Section: ".maps", Name: "memory", Type: Map(33, 4, nil, nil)},
		},
	}).Build())
	section := obj.Section(bpfobj.ArenaSection)
	ms := load(t, obj.ELF).Maps[section]
	if section != ".data.addr_space.1" || ms == nil || ms.ValueSize != 16 {
		t.Errorf("section %s is the map %v", section, ms)
	}
}
