package bpfobj_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

// sample has something of everything.
func sample() *File {
	return &File{
		License: "GPL",
		Programs: []Program{
			{Name: "helper", Section: ".text"},
			{Name: "on_exec", Section: "tp/sched/sched_process_exec", Refs: []string{"counter", "limit", "table", "events", ".rodata.str1.1"}},
			{Name: "on_exec_2", Section: "tp/sched/sched_process_exec"},
			{Name: "filter", Section: "?xdp", Refs: []string{"only_static"}},
		},
		Vars: []Var{
			{Section: ".maps", Name: "events", Type: Map(27, 4096, nil, nil)},
			{Section: ".maps", Name: "table", Type: Map(1, 16, U32, U64)},
			{Section: ".rodata", Name: "limit", Type: Const(Volatile(U64)), Value: []byte{1, 2, 3}},
			{Section: ".bss", Name: "flag", Type: Bool},
			{Section: ".bss", Name: "counter", Type: U64},
			{Section: ".bss", Name: "hidden", Type: U32, Visibility: elf.STV_HIDDEN},
			{Section: ".bss", Name: "internal", Type: U32, Visibility: elf.STV_INTERNAL},
			{Section: ".bss", Name: "weak", Type: U32, Weak: true},
			{Section: ".bss", Name: "on_exec.local", Type: U32, Static: true},
			{Section: ".data.static", Name: "only_static", Type: U32, Static: true},
		},
		Sections: []Section{
			{Name: ".rodata.str1.1", Type: elf.SHT_PROGBITS, Data: []byte("hello\x00")},
			{Name: ".rodata.cst16", Type: elf.SHT_PROGBITS, Data: make([]byte, 16)},
			{Name: ".debug_info", Type: elf.SHT_PROGBITS, Data: make([]byte, 16)},
		},
	}
}

func describe(obj *bpfobj.Object) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %v %q\n", obj.Name, obj.ByteOrder, obj.License)
	for _, m := range obj.Maps {
		fmt.Fprintf(&b, "map %s\n", m.Name)
	}
	for _, p := range obj.Programs {
		fmt.Fprintf(&b, "prog %s %s\n", p.Name, p.Section)
	}
	for _, s := range obj.Sections {
		fmt.Fprintf(&b, "section %s kind=%d size=%d map=%v\n", s.Name, s.Kind, s.Size, s.HasMap)
		for _, v := range s.Variables {
			fmt.Fprintf(&b, "  %d+%d %s hidden=%v\n", v.Offset, v.Size, v.Name, v.Hidden)
		}
	}
	return b.String()
}

func TestRead(t *testing.T) {
	const want = `sample.bpf.o ORDER "GPL"
map events
map table
prog on_exec tp/sched/sched_process_exec
prog on_exec_2 tp/sched/sched_process_exec
prog filter ?xdp
section .rodata kind=1 size=8 map=true
  0+8 limit hidden=false
section .bss kind=2 size=32 map=true
  0+1 flag hidden=false
  8+8 counter hidden=false
  16+4 hidden hidden=true
  20+4 internal hidden=true
  24+4 weak hidden=false
section .data.static kind=0 size=4 map=true
section .rodata.str1.1 kind=1 size=6 map=true
section .rodata.cst16 kind=1 size=16 map=false
`
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, linked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v linked=%v", order, linked), func(t *testing.T) {
				f := sample()
				f.Order, f.Linked = order, linked
				obj, err := bpfobj.Read("sample.bpf.o", f.Build())
				if err != nil {
					t.Fatal(err)
				}
				want := strings.Replace(want, "ORDER", order.String(), 1)
				if got := describe(obj); got != want {
					t.Errorf("got:\n%s\nwant:\n%s", got, want)
				}
			})
		}
	}
}

// The loader decides at run time which data sections are maps; what is read here
// must be the same, as generated code asks the loader for each by name.
func TestReadAgreesWithLoader(t *testing.T) {
	kconfig := sample()
	kconfig.Vars = append(kconfig.Vars, Var{Section: ".kconfig", Name: "CONFIG_HZ", Type: S32, Extern: true})
	unused := &File{
		Programs: []Program{{Name: "p", Section: "xdp"}},
		Vars: []Var{
			{Section: ".data", Name: "nobody_reads_it", Type: U32},
			{Section: ".bss", Name: "static", Type: U32, Static: true},
		},
		Sections: []Section{
			{Name: ".rodata", Type: elf.SHT_PROGBITS, Data: make([]byte, 4)},
			{Name: ".data.empty", Type: elf.SHT_PROGBITS},
		},
	}
	for name, f := range map[string]*File{"sample": sample(), "kconfig": kconfig, "unused": unused} {
		t.Run(name, func(t *testing.T) {
			data := f.Build()
			spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			obj, err := bpfobj.Read(name, data)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, m := range obj.Maps {
				got = append(got, m.Name)
			}
			for _, s := range obj.Sections {
				if s.HasMap {
					got = append(got, s.Name)
				}
			}
			slices.Sort(got)
			if want := slices.Sorted(maps.Keys(spec.Maps)); !slices.Equal(got, want) {
				t.Errorf("maps: got %q, the loader has %q", got, want)
			}
			got = nil
			for _, p := range obj.Programs {
				got = append(got, p.Name)
				if s := spec.Programs[p.Name]; s != nil && s.SectionName != p.Section {
					t.Errorf("program %s: section %q, the loader has %q", p.Name, p.Section, s.SectionName)
				}
			}
			slices.Sort(got)
			if want := slices.Sorted(maps.Keys(spec.Programs)); !slices.Equal(got, want) {
				t.Errorf("programs: got %q, the loader has %q", got, want)
			}
		})
	}
}

func TestReadErrors(t *testing.T) {
	variable := func(v Var) *File {
		return &File{Vars: []Var{{Section: ".bss", Name: "first", Type: U64}, v}}
	}
	sectionSize := func(section string, size uint64) func(string, *elf.Section64) {
		return func(name string, h *elf.Section64) {
			if name == section {
				h.Size = size
			}
		}
	}
	header := func(change func(*elf.Header64)) *File {
		f := sample()
		f.Header = change
		return f
	}
	// A symbol table has a symbol, if only that of the compiler's file.
	nothing := []Var{{Section: ".bss", Name: "v", Type: Array(U32, 0), Static: true}}
	for _, tt := range []struct {
		name string
		file *File
		// change edits the bytes of the built file.
		change func([]byte) []byte
		want   string
	}{
		{"empty", sample(), func(b []byte) []byte { return nil }, "the file is empty"},
		{"text", sample(), func(b []byte) []byte { return []byte("int main;") }, "not an ELF file: give an object file that clang made with -target bpf"},
		{"half a header", sample(), func(b []byte) []byte { return b[:20] }, "damaged or cut short"},
		{"cut", sample(), func(b []byte) []byte { return b[:len(b)/2] }, "damaged or cut short"},
		{"x86", header(func(h *elf.Header64) { h.Machine = uint16(elf.EM_X86_64) }), nil, "an ELF file for X86_64, not for BPF: compile with clang -target bpfel"},
		{"executable", header(func(h *elf.Header64) { h.Type = uint16(elf.ET_EXEC) }), nil, "of type ET_EXEC, not an object file: compile with clang -c"},
		{"no sections", header(func(h *elf.Header64) { h.Shoff, h.Shnum, h.Shstrndx = 0, 0, 0 }), nil, "has no symbol table"},
		{"no BTF", &File{NoBTF: true, Vars: sample().Vars}, nil, "has no .BTF section, which describes the types: compile with clang -g"},
		{"no BTF and code", &File{NoBTF: true, Vars: nothing, Sections: []Section{{Name: "xdp", Type: elf.SHT_PROGBITS, Flags: elf.SHF_ALLOC | elf.SHF_EXECINSTR, Data: make([]byte, 8)}}}, nil, "has no .BTF section"},
		{"no BTF and a name", &File{NoBTF: true, Vars: []Var{{Name: "v", Type: U32, Extern: true}}}, nil, "has no .BTF section"},
		{"nothing", &File{NoBTF: true, Vars: nothing, Sections: []Section{{Name: ".comment", Type: elf.SHT_PROGBITS, Data: []byte("clang")}}}, nil, "defines nothing: no variable, map or program: define one, or look for an #if that leaves all of it out"},
		{"arena variables without an arena", &File{Vars: []Var{{Section: ".addr_space.1", Name: "v", Type: U64}}}, nil, "section .addr_space.1: has variables in an arena, and the object has none: declare a map of type BPF_MAP_TYPE_ARENA"},
		{
			"arena variables and two arenas", &File{Vars: []Var{
				{Section: ".addr_space.1", Name: "v", Type: U64},
				{Section: ".maps", Name: "one", Type: Map(33, 4, nil, nil)},
				{Section: ".maps", Name: "two", Type: Map(33, 4, nil, nil)},
			}}, nil, "the object has several, one and two: keep one of them",
		},
		{"no symbols", &File{NoSymbols: true}, nil, "has no symbol table: use the object as clang wrote it, not stripped"},
		{"section beyond the file", &File{Vars: sample().Vars, SectionHeader: sectionSize(".rodata", 1<<20)}, nil, "section .rodata: reaches beyond the end of the file"},
		{"sections that overlap", sample(), Overlap, "has bytes of other sections: the file is damaged"},
		{"section beyond all files", &File{Vars: sample().Vars, SectionHeader: sectionSize(".rodata", 1<<63)}, nil, "damaged or cut short"},
		{"huge .bss", &File{Vars: sample().Vars, SectionHeader: sectionSize(".bss", 1<<31)}, nil, "section .bss: has 2147483648 bytes, and a data section can have"},
		{"huge .bss, linked", &File{Linked: true, Vars: sample().Vars, SectionHeader: sectionSize(".bss", 1<<30)}, nil, "section .bss: has 1073741824 bytes in the file and 32 in BTF: link the object again"},
		{
			"compressed", &File{Vars: sample().Vars, SectionHeader: func(name string, h *elf.Section64) {
				if name == ".rodata" {
					h.Flags |= uint64(elf.SHF_COMPRESSED)
				}
			}}, nil, "damaged or cut short",
		},
		{
			"section twice", &File{Vars: sample().Vars, Sections: []Section{{Name: ".rodata", Type: elf.SHT_PROGBITS}}},
			nil, "section .rodata: is in the file twice: link the object again",
		},
		{"BTF cut", sample(), func(b []byte) []byte {
			i := bytes.Index(b, []byte{0x9f, 0xeb, 1, 0})
			b[i+12] = 0xff
			b[i+13] = 0xff
			return b
		}, "section .BTF: is damaged"},
		{"BTF of the other order", sample(), func(b []byte) []byte {
			i := bytes.Index(b, []byte{0x9f, 0xeb, 1, 0})
			b[i], b[i+1] = 0xeb, 0x9f
			return b
		}, "section .BTF: has another byte order"},
		{"BTF without header", &File{NoBTF: true, Programs: sample().Programs[:1], Sections: []Section{{Name: ".BTF", Type: elf.SHT_PROGBITS, Data: []byte{0x9f, 0xeb}}}}, nil, "section .BTF: is damaged"},
		{"BTF with a chain of types", &File{NoBTF: true, Programs: sample().Programs[:1], Sections: []Section{{Name: ".BTF", Type: elf.SHT_PROGBITS, Data: chain(1_000_000)}}}, nil, "section .BTF: has more than 100000 types"},

		{"BTF of no type", &File{Vars: sample().Vars, SectionHeader: func(name string, h *elf.Section64) {
			if name == ".BTF" {
				h.Type, h.Off = uint32(elf.SHT_NULL), 1<<40
			}
		}}, nil, "has no .BTF section"},

		{"no type", variable(Var{Section: ".bss", Name: "v", Type: U32, NoBTF: true}), nil, "v: BTF does not have its type: compile the file that defines it with clang -g"},
		{"no type in the whole section", &File{Vars: []Var{{Section: ".data", Name: "v", Type: U32, NoBTF: true}}}, nil, "v: BTF does not have its type"},
		{"no symbol", variable(Var{Section: ".bss", Name: "v", Type: U32, NoSymbol: true}), nil, "v: is in section .bss according to BTF, but the symbol table has no such symbol there"},
		{"local symbol", &File{
			Vars:  []Var{{Section: ".bss", Name: "v", Type: U32, Static: true, NoBTF: true}},
			Types: []btf.Type{&btf.Datasec{Name: ".bss", Vars: []btf.VarSecinfo{{Type: &btf.Var{Name: "v", Type: U32, Linkage: btf.GlobalVar}, Size: 4}}}},
		}, nil, "v: is in section .bss according to BTF, but the symbol table has no such symbol"},
		{"another section", &File{
			Vars:  []Var{{Section: ".bss", Name: "v", Type: U32, NoBTF: true}, {Section: ".data", Name: "w", Type: U32, NoBTF: true}},
			Types: []btf.Type{&btf.Datasec{Name: ".bss", Vars: []btf.VarSecinfo{{Type: &btf.Var{Name: "w", Type: U32, Linkage: btf.GlobalVar}, Size: 4}}}},
		}, nil, "w: is in section .bss according to BTF"},
		{"defined twice", variable(Var{Section: ".bss", Name: "first", Type: U64}), nil, "first: is defined twice in section .bss"},
		{"size of the symbol", variable(Var{Section: ".bss", Name: "v", Type: U32, SymbolSize: -1}), nil, "v: has 4 bytes according to BTF, and 3 according to the symbol table"},
		{"size in BTF", variable(Var{Section: ".bss", Name: "v", Type: U32, BTFSize: 4}), nil, "v: has 8 bytes according to BTF, and 4 according to the symbol table"},
		{"out of bounds", variable(Var{Section: ".bss", Name: "v", Type: U32, SymbolOffset: 1}), nil, "v: reaches beyond the end of section .bss"},
		{"far out of bounds", variable(Var{Section: ".bss", Name: "v", Type: U32, SymbolOffset: -9}), nil, "v: reaches beyond the end of section .bss"},
		{"overlap", variable(Var{Section: ".bss", Name: "v", Type: U32, SymbolOffset: -4}), nil, "v: overlaps first in section .bss"},
		{"stale offset", &File{Linked: true, Vars: []Var{{Section: ".bss", Name: "v", Type: U32}, {Section: ".bss", Name: "w", Type: U32, BTFOffset: -4}}}, nil, "w: is at offset 0 of section .bss according to BTF, and at 4 according to the symbol table: bpftool gen object (libbpf's linker) leaves it so where a variable is weak in one file and defined in another: link the files with bpfgen link instead, or this object once more with it"},
		{"function as a variable", &File{
			Programs: []Program{{Name: "p", Section: "xdp"}},
			Vars:     []Var{{Section: ".bss", Name: "v", Type: U32, NoBTF: true}},
			Types:    []btf.Type{&btf.Datasec{Name: ".bss", Vars: []btf.VarSecinfo{{Type: &btf.Func{Name: "f", Type: &btf.FuncProto{Return: (*btf.Void)(nil)}}}}}},
		}, nil, "section .bss: BTF lists a *btf.Func as its variable"},
		{"two lists of variables", &File{
			Vars:  []Var{{Section: ".bss", Name: "v", Type: U32}},
			Types: []btf.Type{&btf.Datasec{Name: ".bss"}},
		}, nil, "section .bss: BTF describes it twice"},
		{"name of many lines", variable(Var{Section: ".bss", Name: "a\nb", Type: U32, NoBTF: true}), nil, `"a\nb": BTF does not have its type`},
		{"all that is wrong", &File{Vars: []Var{
			{Section: ".bss", Name: "a", Type: U32, NoBTF: true},
			{Section: ".data", Name: "b", Type: U32, NoBTF: true},
		}}, nil, "a: BTF does not have its type: compile the file that defines it with clang -g\nb: BTF does not"},

		{"old maps", &File{Sections: []Section{{Name: "maps", Type: elf.SHT_PROGBITS, Data: make([]byte, 20)}}, Programs: sample().Programs[:1]}, nil, `section maps: declares a map by its sizes, in a form that loaders dropped (libbpf 1.0): declare it as a struct of __uint and __type members in SEC(".maps"), as docs/maps.md shows`},
		{"static map", &File{Vars: []Var{{Section: ".maps", Name: "m", Type: Map(1, 1, U32, U32), Static: true}}}, nil, "m: is a static map, which loaders do not make: remove the word static"},
		{"extern map", &File{Vars: []Var{{Section: ".maps", Name: "m", Type: Map(1, 1, U32, U32), Extern: true}}}, nil, "m: is declared extern and defined nowhere: link the object with the file that defines the map"},
		{"maps without BTF", &File{Programs: sample().Programs[:1], Sections: []Section{{Name: ".maps", Type: elf.SHT_PROGBITS, Data: make([]byte, 20)}}}, nil, "section .maps: declares no map in BTF"},

		{"program twice", &File{Programs: []Program{{Name: "p", Section: "xdp"}, {Name: "p", Section: "tc"}}}, nil, "program p: is defined twice"},
		{"program without a name", &File{Programs: []Program{{Name: "", Section: "xdp"}}}, nil, "section xdp: has a program without a name"},
		{"program out of bounds", &File{Programs: []Program{{Name: "p", Section: "xdp"}}, SectionHeader: sectionSize("xdp", 8)}, nil, "program p: reaches beyond the end of section xdp"},
		{"reference to nothing", sample(), func(b []byte) []byte {
			// The relocation of the first lddw of the second program section.
			f, err := elf.NewFile(bytes.NewReader(b))
			if err != nil {
				panic(err)
			}
			binary.LittleEndian.PutUint64(b[f.Section(".rel?xdp").Offset+8:], 1<<40|1)
			return b
		}, "section .rel?xdp: refers to symbol 256, which does not exist"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := tt.file.Build()
			if tt.change != nil {
				data = tt.change(data)
			}
			obj, err := bpfobj.Read("x.bpf.o", data)
			if err == nil {
				t.Fatalf("no error, read:\n%s", describe(obj))
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "x.bpf.o") {
				t.Errorf("%q has the file's name, which is for the caller to add", err)
			}
		})
	}
}

// chain is BTF in which each of n types refers to the next one, and the variable
// v of .bss to the first.
func chain(n int) []byte {
	b := rawbtf.NewBuilder(binary.LittleEndian, nil)
	for i := range n {
		b.Add(0, rawbtf.Ptr, 0, uint32(i+2))
	}
	b.AddInt("int", 4)
	b.AddDatasec(".bss", 0, []rawbtf.Secinfo{{Type: b.AddVar("v", rawbtf.Global, 1), Size: 4}})
	raw, err := b.Bytes()
	if err != nil {
		panic(err)
	}
	return raw
}

// The longest chain of types that is read must not exhaust the stack.
func TestReadLongChain(t *testing.T) {
	f := &File{
		NoBTF:    true,
		Vars:     []Var{{Section: ".bss", Name: "v", Type: U32}},
		Sections: []Section{{Name: ".BTF", Type: elf.SHT_PROGBITS, Data: chain(99_997)}},
	}
	if _, err := bpfobj.Read("x.bpf.o", f.Build()); err != nil {
		t.Error(err)
	}
}

func TestReadCutAnywhere(t *testing.T) {
	data := sample().Build()
	for n := range data {
		if _, err := bpfobj.Read("x.bpf.o", data[:n]); err == nil {
			t.Errorf("no error for the first %d bytes of %d", n, len(data))
		}
	}
}

// A large .bss is a number in the file, and must stay one.
func TestReadDoesNotAllocateBss(t *testing.T) {
	f := &File{Vars: []Var{{Section: ".bss", Name: "huge", Type: Array(U64, 60<<20)}}}
	data := f.Build()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := bpfobj.Read("x.bpf.o", data); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 1<<20 {
		t.Errorf("%d bytes allocated for a section of %d", allocated, 480<<20)
	}
}

func TestKindOf(t *testing.T) {
	for _, tt := range []struct {
		name string
		kind bpfobj.Kind
		ok   bool
	}{
		{".data", bpfobj.Data, true},
		{".rodata", bpfobj.Rodata, true},
		{".bss", bpfobj.Bss, true},
		{".data.x", bpfobj.Data, true},
		{".rodata.str1.1", bpfobj.Rodata, true},
		{".bss.a_name_that_is_longer_than_a_map_name", bpfobj.Bss, true},
		{".database", 0, false},
		{".kconfig", 0, false},
		{".ksyms", 0, false},
		{".maps", 0, false},
		{".struct_ops", 0, false},
		{"data", 0, false},
		{"", 0, false},
	} {
		if kind, ok := bpfobj.KindOf(tt.name); kind != tt.kind || ok != tt.ok {
			t.Errorf("KindOf(%q) = %v, %v, want %v, %v", tt.name, kind, ok, tt.kind, tt.ok)
		}
	}
}

// A library may declare what others define.
func TestReadLibrary(t *testing.T) {
	f := &File{
		Programs: []Program{{Name: "p", Section: "xdp", Refs: []string{"app_map", "maybe_map", "app", "maybe", "list", "CONFIG_HZ", "ksym"}}},
		Vars: []Var{
			{Section: ".maps", Name: "own_map", Type: Map(1, 1, U32, U32)},
			{Section: ".maps", Name: "secret", Type: Map(1, 1, U32, U32), Visibility: elf.STV_HIDDEN},
			{Section: ".maps", Name: "app_map", Type: Map(1, 1, U32, U32), Extern: true},
			{Section: ".maps", Name: "maybe_map", Type: Map(1, 1, U32, U32), Extern: true, Weak: true},
			{Section: ".data.x", Name: "own", Type: U32},
			{Section: ".data.x", Name: "placed", Type: U64, Extern: true},
			{Section: ".addr_space.1", Name: "shared", Type: U64},
			{Name: "app", Type: U32, Extern: true},
			{Name: "maybe", Type: U32, Extern: true, Weak: true},
			{Name: "list", Type: Array(U32, 0), Extern: true},
			{Name: "unseen", Type: U32, Extern: true, NoSymbol: true},
			{Name: "inside", Type: U32, Extern: true, Visibility: elf.STV_HIDDEN},
			{Section: ".kconfig", Name: "CONFIG_HZ", Type: U32, Extern: true},
			{Section: ".ksyms", Name: "ksym", Type: U32, Extern: true},
		},
	}
	for _, linked := range []bool{false, true} {
		f.Linked = linked
		lib, err := bpfobj.ReadLibrary("x.o", f.Build())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range lib.Externs {
			got = append(got, fmt.Sprintf("%s %d weak=%v", v.Name, v.Size, v.Weak))
		}
		slices.Sort(got)
		if want := []string{"app 4 weak=false", "maybe 4 weak=true", "placed 8 weak=false"}; !slices.Equal(got, want) {
			t.Errorf("externs %q, want %q", got, want)
		}
		got = nil
		for _, m := range lib.Maps {
			got = append(got, fmt.Sprintf("%s hidden=%v extern=%v weak=%v", m.Name, m.Hidden, m.Extern, m.Weak))
		}
		want := []string{
			"own_map hidden=false extern=false weak=false", "secret hidden=true extern=false weak=false",
			"app_map hidden=false extern=true weak=false", "maybe_map hidden=false extern=true weak=true",
		}
		if !slices.Equal(got, want) {
			t.Errorf("maps %q, want %q", got, want)
		}
		arena := slices.IndexFunc(lib.Sections, func(sec bpfobj.Section) bool { return sec.Kind == bpfobj.Arena })
		if arena < 0 || len(lib.Sections[arena].Variables) != 1 || lib.Sections[arena].Variables[0].Name != "shared" {
			t.Errorf("sections %v, want one in an arena", lib.Sections)
		}
		if len(lib.Kconfig) != 1 {
			t.Errorf("kconfig %v", lib.Kconfig)
		}
		if _, err := bpfobj.Read("x.o", f.Build()); err == nil || !strings.Contains(err.Error(), "app_map: is declared extern and defined nowhere") {
			t.Errorf("as a final object: %v", err)
		}
	}
}
