package rawbtf

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/cilium/ebpf/btf"
)

func kernelBTF(tb testing.TB) []byte {
	tb.Helper()
	data, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if errors.Is(err, fs.ErrNotExist) {
		tb.Skip("needs a kernel with BTF: /sys/kernel/btf/vmlinux is not there")
	}
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func TestEssentialName(t *testing.T) {
	for name, want := range map[string]string{
		"":                   "",
		"a":                  "a",
		"task_struct":        "task_struct",
		"task_struct___old":  "task_struct",
		"a___b":              "a",
		"a___b___c":          "a___b",
		"a____b":             "a____b",
		"___b":               "___b",
		"a___":               "a___",
		"abcdef___x":         "abcdef",
		"abcdefg___x":        "abcdefg",
		"abcdefgh___x":       "abcdefgh",
		"bpf_x___v2_impl":    "bpf_x",
		"long_name___v2___3": "long_name___v2",
	} {
		if got := EssentialName(name); got != want {
			t.Errorf("EssentialName(%q) is %q, want %q", name, got, want)
		}
	}
}

// Types of the running kernel are those that cilium/ebpf reads.
func TestKernel(t *testing.T) {
	types, err := New(kernelBTF(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	// Out of order, so that types are found behind marks as well.
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		id := 1 + r.Uint32N(100_000)
		want, err := spec.TypeByID(btf.TypeID(id))
		if err != nil {
			break
		}
		got := types.At(id)
		// cilium/ebpf does not call the text of a tag its name.
		if k := got.Kind(); k != DeclTag && k != TypeTag && got.Name() != want.TypeName() {
			t.Fatalf("type %d is called %q, want %q", id, got.Name(), want.TypeName())
		}
		if s, ok := want.(*btf.Struct); ok {
			if got.Kind() != Struct || got.Vlen() != len(s.Members) || got.ByteSize() != s.Size {
				t.Fatalf("type %d: %v, %d members, %d bytes, want %v", id, got.Kind(), got.Vlen(), got.ByteSize(), want)
			}
			for i, m := range s.Members {
				if g := got.Member(i); g.Name != m.Name || g.Offset != uint32(m.Offset) || g.Bits != uint32(m.BitfieldSize) {
					t.Fatalf("type %d: member %+v, want %+v", id, g, m)
				}
			}
		}
		if size, err := btf.Sizeof(want); err == nil {
			if n, ok := got.SizeOf(); !ok || n != uint64(size) {
				t.Fatalf("type %d takes %d bytes, %v, want %d", id, n, ok, size)
			}
		}
	}
}

// Named finds what a search of all types finds.
func TestNamed(t *testing.T) {
	data := kernelBTF(t)
	all, err := New(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	names := NewNames()
	r := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		if name := EssentialName(all.At(1 + r.Uint32N(all.Len()-1)).Name()); name != "" {
			names.Add(name)
		}
	}
	names.Add("no_such_type_in_any_kernel")
	want := make(map[string][]uint32)
	for id := range all.Len() {
		typ := all.At(id)
		if name := EssentialName(typ.Name()); has(names, name) && typ.Kind() != DeclTag && typ.Kind() != TypeTag {
			want[name] = append(want[name], id)
		}
	}
	fresh, err := New(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	half := NewNames()
	for name := range names.wanted {
		if half.Len() < names.Len()/2 {
			half.Add(name)
		}
	}
	// What is remembered of a search is as good as another.
	fresh.Named(half, func(string, Type) {})
	for range 2 {
		got := make(map[string][]uint32)
		fresh.Named(names, func(name string, typ Type) { got[name] = append(got[name], typ.ID) })
		if len(got) != len(want) {
			t.Errorf("%d names found, want %d", len(got), len(want))
		}
		for name, ids := range want {
			if !slices.Equal(got[name], ids) {
				t.Errorf("%s is %v, want %v", name, got[name], ids)
			}
		}
	}
	if fresh.Len() != all.Len() {
		t.Errorf("%d types, want %d", fresh.Len(), all.Len())
	}
	// By the marks that the search has set.
	for range 1000 {
		if id := r.Uint32N(all.Len()); fresh.At(id).Name() != all.At(id).Name() {
			t.Fatalf("type %d is %q, want %q", id, fresh.At(id).Name(), all.At(id).Name())
		}
	}
}

func has(n *Names, name string) bool { _, ok := n.wanted[name]; return ok }

// Every flavour of a name is found, wherever the string is among others.
func TestFlavours(t *testing.T) {
	names := []string{"a", "ab", "abc", "abc_", "abcd", "abcde", "abcdefgh", "abcdefghi", "a_b", "a__b", "abcdef_", "abcde__f"}
	flavours := []string{"", "___x", "___old", "___v2_impl", "____x"}
	for filler := range 9 {
		strs := []byte("\x00" + "zzzzzzzz"[:filler] + "\x00")
		var types []byte
		want := make(map[string][]uint32)
		id := uint32(1)
		for _, flavour := range flavours {
			for _, name := range names {
				types = appendWords(types, uint32(len(strs)), uint32(Struct)<<24, 0)
				strs = append(strs, name+flavour+"\x00"...)
				essential := EssentialName(name + flavour)
				want[essential] = append(want[essential], id)
				id++
			}
		}
		raw, err := New(blob(types, strs), nil)
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string][]uint32)
		wanted := NewNames(names...)
		wanted.Add("zz")
		raw.Named(wanted, func(name string, typ Type) { got[name] = append(got[name], typ.ID) })
		for _, name := range names {
			if !slices.Equal(got[name], want[name]) {
				t.Errorf("filler %d: %s is %v, want %v", filler, name, got[name], want[name])
			}
		}
		if len(got) != len(names) {
			t.Errorf("filler %d: found %v", filler, got)
		}
		for name, id := range map[string]uint32{"abc": 3, "abc___old": uint32(2*len(names)) + 3} {
			if typ, ok := raw.Find(name, Struct); !ok || typ.ID != id {
				t.Errorf("Find(%q) is type %d, %v, want %d", name, typ.ID, ok, id)
			}
		}
		if typ, ok := raw.Find("abc", Union); ok {
			t.Errorf("type %d is not a union", typ.ID)
		}
	}
}

func appendWords(b []byte, words ...uint32) []byte {
	for _, w := range words {
		b = binary.NativeEndian.AppendUint32(b, w)
	}
	return b
}

// blob returns BTF of the types and strings.
func blob(types, strs []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, magic)
	b = append(b, 1, 0)
	n := uint32(len(types))
	b = appendWords(b, HeaderSize, 0, n, n, uint32(len(strs)))
	return append(append(b, types...), strs...)
}

// The names of a module's types may be among the strings of the kernel.
func TestNamedInModule(t *testing.T) {
	kernel, err := New(blob(appendWords(nil, 1, uint32(Struct)<<24, 0), []byte("\x00one\x00two___x\x00")), nil)
	if err != nil {
		t.Fatal(err)
	}
	module, err := New(blob(appendWords(nil, 5, uint32(Struct)<<24, 0, 14, uint32(Func)<<24, 1), []byte("\x00three\x00")), kernel)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]uint32)
	module.Named(NewNames("one", "two", "three"), func(name string, typ Type) { found[name] = typ.ID })
	if want := (map[string]uint32{"two": 2, "three": 3}); !maps.Equal(found, want) {
		t.Errorf("found %v, want %v", found, want)
	}
}

// BTF may be damaged in every way, that of a module as well as that of its kernel.
func FuzzTypes(f *testing.F) {
	one := blob(appendWords(nil, 1, uint32(Int)<<24, 4, 1<<24|32, 5, uint32(Struct)<<24|1, 4, 5, 1, 0), []byte("\x00int\x00s___x\x00"))
	f.Add(one, []byte{})
	f.Add(one, blob(appendWords(nil, 1, uint32(Func)<<24, 2, 12, uint32(Typedef)<<24, 1), []byte("\x00int\x00t\x00")))
	f.Fuzz(func(t *testing.T, data, module []byte) {
		types, err := New(data, nil)
		if err != nil {
			return
		}
		readAll(types)
		if types, err = New(module, types); err == nil {
			readAll(types)
		}
	})
}

// readAll calls all that reads types.
func readAll(types *Types) {
	names := NewNames("int", "s", "t")
	types.Named(names, func(_ string, typ Type) { typ.SizeOf() })
	types.Lacking(names)
	for id := range min(types.Len()+2, 100) {
		typ := types.At(id)
		if got, ok := types.Find(typ.Name(), typ.Kind()); ok && got.Kind() != typ.Kind() {
			panic("a type of another kind is found")
		}
		typ.SizeOf()
		typ.Skip()
		for i := range min(typ.Vlen(), 100) {
			typ.Member(i)
			typ.Value(i)
			typ.Param(i)
		}
	}
}

func BenchmarkNamed(b *testing.B) {
	data := kernelBTF(b)
	names := NewNames("task_struct", "sock", "mm_struct", "file", "inode", "dentry", "net", "sk_buff", "pt_regs", "pid", "cred", "bpf_map", "cgroup", "vfs_read", "btf_trace_sched_switch")
	b.ReportAllocs()
	for b.Loop() {
		types, err := New(data, nil)
		if err != nil {
			b.Fatal(err)
		}
		types.Named(names, func(string, Type) {})
	}
}
