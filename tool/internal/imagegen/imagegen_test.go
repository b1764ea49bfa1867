package imagegen_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/imagegen"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker/linkertest"
	"github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

// link compiles and links C files.
func link(t testing.TB, target string, files ...string) []byte {
	t.Helper()
	data, err := linker.Link(linkertest.Compile(t, target, files...), linker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// build returns the object of a file, which must have an image.
func build(t testing.TB, data []byte) *image.Object {
	t.Helper()
	o := describe(t, data)
	encoded, err := o.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := describe(t, data).Encode(); string(again) != string(encoded) {
		t.Error("the same file has another image the second time")
	}
	if o.Order.Uint16([]byte{1, 0}) == binary.NativeEndian.Uint16([]byte{1, 0}) {
		if _, err := image.Decode(string(encoded)); err != nil {
			t.Errorf("the image is not read: %v", err)
		}
	}
	return o.Object
}

func describe(t testing.TB, data []byte) *imagegen.Image {
	t.Helper()
	o, err := imagegen.Build("test.bpf.o", data)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// both runs a test for the object of C files, as clang writes it when there is one, and
// linked, in both byte orders.
func both(t *testing.T, test func(t *testing.T, o *image.Object), files ...string) {
	for _, target := range []string{"bpfel", "bpfeb"} {
		t.Run(target, func(t *testing.T) {
			test(t, build(t, link(t, target, files...)))
			if len(files) == 1 {
				test(t, build(t, linkertest.Compile(t, target, files...)[0].Data))
			}
		})
	}
}

// want compares lines.
func want(t *testing.T, got []string, lines ...string) {
	t.Helper()
	if !slices.Equal(got, lines) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(lines, "\n\t"))
	}
}

// lines returns a line for each element.
func lines[T any](all []T, line func(T) string) []string {
	var out []string
	for _, e := range all {
		out = append(out, line(e))
	}
	return out
}

// relocations returns the relocations as lines, with the functions that they are in.
func relocations(o *image.Object) []string {
	var out []string
	for _, r := range image.All(o.Relocations) {
		in := ""
		for _, f := range o.Functions {
			if f.First <= r.Instruction && r.Instruction < f.First+f.Count {
				in = f.Name
			}
		}
		to := ""
		switch r.Kind {
		case image.MapFD:
			to = "map " + o.Maps[r.Target].Name
		case image.MapValue:
			to = fmt.Sprintf("%s+%d", o.Maps[r.Target].Name, r.Addend)
		case image.ArenaValue:
			to = fmt.Sprintf("arena+%d", r.Addend)
		case image.Call:
			to = "call " + o.Functions[r.Target].Name
		case image.FuncAddress:
			to = "&" + o.Functions[r.Target].Name
		case image.ExternCall:
			to = "call extern " + o.Externs[r.Target].Name
		case image.ExternAddress:
			to = "&extern " + o.Externs[r.Target].Name
		case image.JumpTable:
			to = fmt.Sprint(o.JumpTables[r.Target].Instructions)
		}
		out = append(out, in+": "+to)
	}
	return out
}

func types(t *testing.T, o *image.Object) *rawbtf.Types {
	t.Helper()
	types, err := rawbtf.New(o.BTF, nil)
	if err != nil {
		t.Fatal(err)
	}
	return types
}

func TestCode(t *testing.T) {
	source := `
		char LICENSE[] SEC("license") = "GPL";
		unsigned VERSION SEC("version") = 0x60c01;
		static __noinline int local(int x) { return x * 7; }
		__noinline int shared(int x) { return local(x) + 1; }
		__hidden __noinline int hidden(int x) { return x * 3; }
		static int each(u32 i, void *ctx) { return 0; }
		static long (*loop)(u32 n, void *fn, void *ctx, u64 flags) = (void *) 181;
		SEC("xdp") int first(void *ctx) { return shared(1) + hidden(2); }
		SEC("?xdp") int second(void *ctx) { loop(3, each, 0, 0); return local(4); }
		SEC("tc") int third(void *ctx) { return 0; }
	`
	both(t, func(t *testing.T, o *image.Object) {
		if o.Name != "test" || o.License != "GPL" || o.KernelVersion != 0x60c01 {
			t.Errorf("name %q, license %q, version %#x", o.Name, o.License, o.KernelVersion)
		}
		want(t, lines(o.Programs, func(p image.Program) string {
			return fmt.Sprintf("%s %s %s", p.Name, p.Section, o.Functions[p.Function].Name)
		}), "first xdp first", "second ?xdp second", "third tc third")
		all := types(t, o)
		functions := lines(o.Functions, func(f image.Function) string {
			typ := all.At(f.Type)
			return fmt.Sprintf("%s global=%v type=%s linkage=%d", f.Name, f.Global, typ.Name(), typ.Vlen())
		})
		slices.Sort(functions)
		want(t, functions, "each global=false type=each linkage=0", "first global=true type=first linkage=1",
			"hidden global=false type=hidden linkage=0", "local global=false type=local linkage=0",
			"second global=true type=second linkage=1", "shared global=true type=shared linkage=1", "third global=true type=third linkage=1")
		next := uint32(0)
		for _, f := range o.Functions {
			if f.First != next {
				t.Errorf("%s starts at %d, want %d", f.Name, f.First, next)
			}
			next += f.Count
		}
		if int(next) != len(o.Code)/image.InstructionSize || image.Len(o.FuncInfo) != len(o.Functions) {
			t.Errorf("%d instructions of %d in functions, %d of %d with a type", next, len(o.Code)/8, image.Len(o.FuncInfo), len(o.Functions))
		}
		got := relocations(o)
		slices.Sort(got)
		want(t, got, "first: call hidden", "first: call shared", "second: &each", "second: call local", "shared: call local")
		for i, l := range image.All(o.LineInfo) {
			if l.Column>>10 == 0 || all.String(l.Line) == "" {
				t.Errorf("line %d is %+v", i, l)
			}
		}
	}, source)
}

// The body of a function that another file overrides is not in the image.
func TestOverridden(t *testing.T) {
	both(t, func(t *testing.T, o *image.Object) {
		var names []string
		for _, f := range o.Functions {
			names = append(names, fmt.Sprint(f.Name, " ", f.Count > 4))
		}
		slices.Sort(names)
		want(t, names, "prog false", "twice false")
		want(t, relocations(o), "prog: call twice")
	},
		`__weak __noinline int twice(int x) { for (int i = 0; i < x; i++) x = x * 3 ^ x * 5 + i; return x; } SEC("xdp") int prog(void *ctx) { return twice(2); }`,
		`__noinline int twice(int x) { return 2 * x; }`)
}

func TestMaps(t *testing.T) {
	source := `
		struct inner { __uint(type, 1); __uint(max_entries, 8); __type(key, u64); __type(value, u64); __uint(map_flags, 1); __uint(numa_node, 3); };
		typedef struct inner inner_t;
		struct { __uint(type, 1); __uint(key_size, 8); __type(value, u32); __uint(max_entries, 3); __uint(map_flags, 1); __uint(numa_node, 2); __uint(pinning, 1); } plain SEC(".maps");
		inner_t one SEC(".maps");
		struct { __uint(type, 12); __uint(max_entries, 4); __type(key, u32); __array(values, inner_t); } outer SEC(".maps") = { .values = { [2] = &one } };
		int prog(void *ctx);
		struct { __uint(type, 3); __uint(max_entries, 4); __type(key, u32); __array(values, int (void *)); } calls SEC(".maps") = { .values = { [1] = (void *) &prog } };
		struct { __uint(type, 30); __uint(max_entries, 4); __type(value, u32); __ulong(map_extra, 5); } bloom SEC(".maps");
		struct { __uint(type, 27); __uint(max_entries, 1000); } ring SEC(".maps");
		u32 data = 7, zero;
		u64 own SEC(".bss.own"), list[4] SEC(".data.list") = { 1 };
		const volatile u32 limit = 3;
		const volatile u32 bpf_metadata_version SEC(".rodata.meta") = 1;
		static volatile u32 quiet;
		__hidden u32 unseen = 2;
		SEC("xdp") int prog(void *ctx) {
			u32 key = 1;
			lookup(&plain, &key);
			return data + zero + own + list[2] + limit + bpf_metadata_version + quiet++ + unseen;
		}
	`
	both(t, func(t *testing.T, o *image.Object) {
		all := types(t, o)
		name := func(id uint32) string {
			if id == 0 {
				return "-"
			}
			return all.At(id).Name()
		}
		want(t, lines(o.Maps, func(m image.Map) string {
			return fmt.Sprintf("%s kind=%d type=%d %d/%d/%d flags=%#x numa=%d extra=%d pin=%d %s/%s inner=%d contents=%d metadata=%v",
				m.Name, m.Kind, m.Type, m.KeySize, m.ValueSize, m.MaxEntries, m.Flags, m.NUMANode, m.Extra, m.Pinning, name(m.KeyType), name(m.ValueType), int32(m.Inner), len(m.Contents), m.Metadata)
		}),
			"one kind=0 type=1 8/8/8 flags=0x1 numa=3 extra=0 pin=0 u64/u64 inner=-1 contents=0 metadata=false",
			"outer kind=0 type=12 4/4/4 flags=0x0 numa=0 extra=0 pin=0 u32/- inner=12 contents=0 metadata=false",
			"calls kind=0 type=3 4/4/4 flags=0x0 numa=0 extra=0 pin=0 u32/- inner=-1 contents=0 metadata=false",
			"plain kind=0 type=1 8/4/3 flags=0x1 numa=2 extra=0 pin=1 -/u32 inner=-1 contents=0 metadata=false",
			"bloom kind=0 type=30 0/4/4 flags=0x0 numa=0 extra=5 pin=0 -/u32 inner=-1 contents=0 metadata=false",
			"ring kind=0 type=27 0/0/1000 flags=0x0 numa=0 extra=0 pin=0 -/- inner=-1 contents=0 metadata=false",
			".data kind=1 type=2 4/8/1 flags=0x0 numa=0 extra=0 pin=0 -/.data inner=-1 contents=8 metadata=false",
			".data.list kind=1 type=2 4/32/1 flags=0x0 numa=0 extra=0 pin=0 -/.data.list inner=-1 contents=32 metadata=false",
			".rodata kind=2 type=2 4/4/1 flags=0x80 numa=0 extra=0 pin=0 -/.rodata inner=-1 contents=4 metadata=false",
			".rodata.meta kind=2 type=2 4/4/1 flags=0x80 numa=0 extra=0 pin=0 -/.rodata.meta inner=-1 contents=4 metadata=true",
			".bss kind=3 type=2 4/8/1 flags=0x0 numa=0 extra=0 pin=0 -/.bss inner=-1 contents=0 metadata=false",
			".bss.own kind=3 type=2 4/8/1 flags=0x0 numa=0 extra=0 pin=0 -/.bss.own inner=-1 contents=0 metadata=false",
			"outer.inner kind=5 type=1 8/8/8 flags=0x1 numa=3 extra=0 pin=0 u64/u64 inner=-1 contents=0 metadata=false")
		want(t, lines(o.Elements, func(e image.Element) string {
			return fmt.Sprintf("%s[%d] %v %d", o.Maps[e.Map].Name, e.Key, e.IsProgram, e.Target)
		}), "outer[2] false 0", "calls[1] true 0")
		want(t, lines(o.Variables, func(v image.Variable) string {
			return fmt.Sprintf("%s %s+%d %d %s %v", v.Name, o.Maps[v.Map].Name, v.Offset, v.Size, name(v.Type), v.Visible)
		}),
			"data .data+0 4 u32 true", "unseen .data+4 4 u32 false", "list .data.list+0 32  true", "limit .rodata+0 4  true",
			"bpf_metadata_version .rodata.meta+0 4  true", "zero .bss+0 4 u32 true", "quiet .bss+4 4  false", "own .bss.own+0 8 u64 true")
		got := relocations(o)
		slices.Sort(got)
		want(t, slices.Compact(got), "prog: .bss+0", "prog: .bss+4", "prog: .bss.own+0", "prog: .data+0", "prog: .data+4", "prog: .data.list+0",
			"prog: .rodata+0", "prog: .rodata.meta+0", "prog: map plain")
	}, "#define __ulong(name, val) enum { __bpf_##name = val } name\n"+source)
}

func TestExterns(t *testing.T) {
	source := `
		enum libbpf_tristate { TRI_NO, TRI_YES, TRI_MODULE };
		struct task;
		extern const int bpf_prog_active __ksym;
		extern const void bpf_link_fops __ksym __weak;
		extern struct task *bpf_task_acquire___new(struct task *p) __ksym __weak;
		extern void bpf_throw(u64) __ksym;
		extern u8 CONFIG_CHAR __kconfig;
		extern _Bool CONFIG_BOOL __kconfig __weak;
		extern char CONFIG_TEXT[5] __kconfig;
		extern int CONFIG_HZ __kconfig;
		extern u64 CONFIG_WIDE __kconfig __weak;
		extern enum libbpf_tristate CONFIG_TRI __kconfig;
		SEC("tc") int prog(struct task *ctx) {
			if (bpf_task_acquire___new) bpf_task_acquire___new(ctx);
			if (&bpf_link_fops) bpf_throw(1);
			return bpf_prog_active + CONFIG_CHAR + CONFIG_BOOL + CONFIG_TEXT[2] + CONFIG_HZ + CONFIG_WIDE + CONFIG_TRI;
		}
	`
	both(t, func(t *testing.T, o *image.Object) {
		all := types(t, o)
		want(t, lines(o.Externs, func(e image.Extern) string {
			return fmt.Sprintf("%s %d %v %d", e.Name, e.Kind, e.Weak, all.At(e.Type).Kind())
		}), "bpf_link_fops 0 true 0", "bpf_prog_active 1 false 10", "bpf_task_acquire___new 2 true 13", "bpf_throw 2 false 13")
		want(t, lines(o.Kconfig, func(v image.KconfigVar) string {
			return fmt.Sprintf("%s %d+%d kind=%d %v %v", v.Name, v.Offset, v.Size, v.Kind, v.Signed, v.Weak)
		}),
			"CONFIG_WIDE 0+8 kind=1 false true", "CONFIG_HZ 8+4 kind=1 true false", "CONFIG_TRI 12+4 kind=3 false false",
			"CONFIG_BOOL 16+1 kind=2 false true", "CONFIG_CHAR 17+1 kind=4 false false", "CONFIG_TEXT 18+5 kind=5 false false")
		m := o.Maps[len(o.Maps)-1]
		if m.Name != ".kconfig" || m.ValueSize != 23 || m.Flags != 0x80 || all.At(m.ValueType).ByteSize() != 23 {
			t.Errorf("the map is %+v", m)
		}
		got := relocations(o)
		slices.Sort(got)
		want(t, slices.Compact(got), "prog: &extern bpf_link_fops", "prog: &extern bpf_prog_active", "prog: &extern bpf_task_acquire___new",
			"prog: .kconfig+0", "prog: .kconfig+12", "prog: .kconfig+16", "prog: .kconfig+17", "prog: .kconfig+18", "prog: .kconfig+8",
			"prog: call extern bpf_task_acquire___new", "prog: call extern bpf_throw")
		checkKsyms(t, o)
	}, source)
}

// checkKsyms checks that the kernel can take the section .ksyms: variables of 4 bytes,
// one after the other, and no functions among them.
func checkKsyms(t *testing.T, o *image.Object) {
	spec, err := btf.LoadSpecFromReader(strings.NewReader(string(o.BTF)))
	if err != nil {
		t.Fatal(err)
	}
	var ds *btf.Datasec
	if err := spec.TypeByName(".ksyms", &ds); err != nil {
		t.Fatal(err)
	}
	want(t, lines(ds.Vars, func(v btf.VarSecinfo) string {
		in := v.Type.(*btf.Var)
		return fmt.Sprintf("%s %d+%d %v %T", in.Name, v.Offset, v.Size, in.Linkage, btf.UnderlyingType(in.Type))
	})[len(ds.Vars)-1:], fmt.Sprintf("%s %d+4 global *btf.Int", ds.Vars[3].Type.TypeName(), 12))
	var fn *btf.Func
	if err := spec.TypeByName("bpf_throw", &fn); err != nil {
		t.Fatal(err)
	}
	if p := fn.Type.(*btf.FuncProto).Params[0]; fn.Linkage != btf.GlobalFunc || p.Name != "dummy_ksym" {
		t.Errorf("bpf_throw has linkage %v and the parameter %q", fn.Linkage, p.Name)
	}
	if ds.Size != 16 {
		t.Errorf("section .ksyms has %d bytes", ds.Size)
	}
}

func TestArena(t *testing.T) {
	source := `
		struct { __uint(type, 33); __uint(map_flags, 1 << 10); __uint(max_entries, 4); } memory SEC(".maps");
		// As clang 19 and later do for __arena.
		u32 hits SEC(".addr_space.1") = 41;
		u64 *head SEC(".addr_space.1");
		u64 later SEC(".addr_space.1");
		SEC("syscall") int prog(void *ctx) { lookup(&memory, ctx); return hits + later; }
	`
	both(t, func(t *testing.T, o *image.Object) {
		if a := o.Arena; a.Map != 0 || a.Size == 0 || len(a.Contents) != int(a.Size) || types(t, o).At(a.DataSection).Name() != ".addr_space.1" {
			t.Errorf("the arena has %+v", a)
		}
		names := lines(o.Variables, func(v image.Variable) string { return fmt.Sprint(v.Name, " ", int32(v.Map)) })
		slices.Sort(names)
		want(t, names, "head -1", "hits -1", "later -1")
		got := relocations(o)
		slices.Sort(got)
		if len(got) != 3 || got[2] != "prog: map memory" || !strings.HasPrefix(got[0], "prog: arena+") {
			t.Errorf("relocations %q", got)
		}
	}, source)
}

func TestStructOps(t *testing.T) {
	source := `
		struct table { u64 number; int (*call)(void *); int (*other)(void *); char name[8]; };
		SEC("struct_ops/call") int on_call(void *ctx) { return 1; }
		SEC("?struct_ops.s") int on_other(void *ctx) { return 2; }
		SEC(".struct_ops.link") struct table first = { .number = 3, .call = (void *) on_call, .other = (void *) on_other, .name = "first" };
		SEC("?.struct_ops") struct table second = { .other = (void *) on_call };
		SEC(".struct_ops.link") struct table third = { .call = (void *) on_other };
	`
	both(t, func(t *testing.T, o *image.Object) {
		all := types(t, o)
		want(t, lines(o.StructOps, func(s image.StructOps) string {
			return fmt.Sprintf("%s %s %s %d %q %v", s.Name, s.Section, all.At(s.Type).Name(), len(s.Contents), strings.Trim(string(s.Contents), "\x00"), s.Funcs)
		}),
			`first .struct_ops.link table 32 `+number(o, 3)+` [{8 0} {16 1}]`,
			`third .struct_ops.link table 32 "" [{8 1}]`,
			`second ?.struct_ops table 32 "" [{16 0}]`)
	}, source)
}

// number is how the start of the first table is printed.
func number(o *image.Object, n uint64) string {
	return fmt.Sprintf("%q", strings.Trim(string(o.StructOps[0].Contents[:24]), "\x00")+strings.Repeat("\x00", zeros(o))+"first")
}

// zeros is how many there are between the number and the name.
func zeros(o *image.Object) int {
	s := strings.TrimLeft(string(o.StructOps[0].Contents), "\x00")
	return strings.Count(strings.TrimRight(s, "\x00"), "\x00")
}

// What inline assembly refers to, with an offset from a symbol, is a place in the section.
func TestAddends(t *testing.T) {
	source := `
		u64 first = 1, list[10] = { 1 };
		static u64 own[4] = { 2 };
		SEC("xdp") int prog(void *ctx) {
			u64 *a, *b, *c;
			asm volatile("%0 = list + 40 ll\n %1 = own + 8 ll\n %2 = first - 8 ll\n" : "=r"(a), "=r"(b), "=r"(c));
			return *a + *b + *c + own[*a & 3]++;
		}
	`
	both(t, func(t *testing.T, o *image.Object) {
		at := make(map[string]uint32)
		for _, v := range o.Variables {
			at[v.Name] = v.Offset
		}
		got := relocations(o)
		for i, v := range []uint32{at["list"] + 40, at["own"] + 8, at["first"] - 8} {
			if line := fmt.Sprintf("prog: .data+%d", v); got[i] != line {
				t.Errorf("relocation %d is %s, want %s", i, got[i], line)
			}
		}
	}, source)
}

func TestCORE(t *testing.T) {
	source := `
		struct thing { int a; int b; } __attribute__((preserve_access_index));
		SEC("tp_btf/x") int prog(u64 *ctx) { struct thing *p = (void *) ctx[0]; return p->b; }
		SEC("tp_btf/y") int other(u64 *ctx) { struct thing *p = (void *) ctx[0]; return p->a; }
	`
	both(t, func(t *testing.T, o *image.Object) {
		all := types(t, o)
		var got []string
		for _, r := range image.All(o.CORE) {
			got = append(got, fmt.Sprintf("%s %s %d in other: %v", all.At(r.Type).Name(), all.String(r.Access), r.Kind, r.Instruction >= o.Functions[1].First))
		}
		want(t, got, "thing 0:1 0 in other: false", "thing 0:0 0 in other: true")
	}, source)
}

func TestExceptionCallback(t *testing.T) {
	const prelude = `
		extern void bpf_throw(u64) __ksym;
		#define __exception_cb(name) __attribute__((btf_decl_tag("exception_callback:" #name)))
	`
	prog := `SEC("tc") __exception_cb(on_throw) int prog(void *ctx) { bpf_throw(5); return 1; }`
	both(t, func(t *testing.T, o *image.Object) {
		var got []string
		for _, f := range o.Functions {
			if f.ExceptionCallback != image.NoIndex {
				got = append(got, f.Name+" "+o.Functions[f.ExceptionCallback].Name)
			}
		}
		want(t, got, "prog on_throw")
	}, prelude+`__noinline int on_throw(u64 cookie) { return 77; }`+prog)
	for source, message := range map[string]string{
		prog: "prog: its exception callback on_throw is not in the object: define it",
		`__hidden __noinline int on_throw(u64 cookie) { return 77; }` + prog: "prog: its exception callback on_throw is static or hidden, and must be global",
	} {
		if _, err := imagegen.Build("x.o", link(t, "bpfel", prelude+source)); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("got %v, want %s", err, message)
		}
	}
}

// Jump tables move with the functions that jump, and lead to places in them.
func TestJumpTables(t *testing.T) {
	source := func(name, section string) string {
		return strings.NewReplacer("NAME", name, "SECTION", section).Replace(`
			asm(".pushsection SECTION,\"ax\",@progbits\n start_NAME:\n .popsection\n"
			    ".pushsection .jumptables,\"\",@progbits\n .type table_NAME,@object\n .size table_NAME,16\n"
			    "table_NAME: .quad second_NAME - start_NAME\n .quad first_NAME - start_NAME\n .popsection\n");
			__noinline int pad_NAME(int x) { return x * 7 + 3; }
			SEC("SECTION") int NAME(void *ctx) {
				int sum = 0;
				asm volatile("r1 = table_NAME ll\n first_NAME: r2 = 1\n second_NAME: r3 = 2\n %0 += r2\n" : "+r"(sum) :: "r1", "r2", "r3");
				return sum + pad_NAME(sum);
			}`)
	}
	check := func(t *testing.T, o *image.Object) {
		var got []string
		for _, r := range image.All(o.Relocations) {
			if r.Kind != image.JumpTable {
				continue
			}
			table := o.JumpTables[r.Target]
			f := o.Functions[table.Function]
			// The load takes two instructions; the table has them the other way round.
			at := r.Instruction - f.First
			got = append(got, fmt.Sprintf("%s +%d +%d", f.Name, table.Instructions[0]-at, table.Instructions[1]-at))
		}
		slices.Sort(got)
		want(t, got, "one +3 +2", "two +3 +2")
	}
	for _, target := range []string{"bpfel", "bpfeb"} {
		for _, section := range []string{"xdp", "tc"} {
			t.Run(target+" "+section, func(t *testing.T) {
				inputs := linkertest.Compile(t, target, source("one", "xdp"), source("two", section))
				for i := range inputs {
					inputs[i].Data = toSymbols(t, inputs[i].Data)
				}
				data, err := linker.Link(inputs, linker.Options{})
				if err != nil {
					t.Fatal(err)
				}
				check(t, build(t, data))
			})
		}
	}
}

// toSymbols makes relocations refer to the symbols of jump tables, as clang does for its
// own and not for those of inline assembly.
func toSymbols(t *testing.T, data []byte) []byte {
	file, err := elfobj.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	file.Sections = slices.DeleteFunc(file.Sections, func(sec *elfobj.Section) bool { return sec.Name == ".llvm_addrsig" })
	for _, sec := range file.Sections {
		sec.Data = slices.Clone(sec.Data)
		for i, r := range sec.Relocs {
			if !sec.IsCode() || r.Symbol.Section == nil || r.Symbol.Section.Name != ".jumptables" {
				continue
			}
			a, err := elfobj.ReadAddend(sec, r, file.Order)
			if err != nil {
				t.Fatal(err)
			}
			for _, sym := range file.Symbols {
				if sym.Section == r.Symbol.Section && sym.Size > 0 && int64(sym.Value) == a.Target(r.Symbol) {
					sec.Relocs[i].Symbol = sym
				}
			}
			if err := a.Set(0, file.Order); err != nil {
				t.Fatal(err)
			}
		}
	}
	if data, err = file.Bytes(); err != nil {
		t.Fatal(err)
	}
	return data
}

// What no image can have is refused, with what to do.
func TestRefused(t *testing.T) {
	const prog = `SEC("xdp") int prog(void *ctx) { return 0; }`
	for source, message := range map[string]string{
		`struct { __uint(type, 1); __uint(max_entries, 1); __uint(no_such, 1); } m SEC(".maps");`:                                      "m: member no_such of the declaration is not one that loaders know",
		`struct { __uint(max_entries, 1); } m SEC(".maps");`:                                                                           "m: the declaration does not say the type: add __uint(type, BPF_MAP_TYPE_...)",
		`struct { __uint(type, 1); int max_entries; } m SEC(".maps");`:                                                                 "m: member max_entries of the declaration is not a number: declare it with __uint",
		`struct { __uint(type, 1); u32 key; } m SEC(".maps");`:                                                                         "m: member key of the declaration is not a type: declare it with __type",
		`struct no; struct { __uint(type, 1); struct no *key; } m SEC(".maps");`:                                                       "m: member key of the declaration is of a type without a size",
		`struct { __uint(type, 1); __type(key, u32); __uint(key_size, 8); } m SEC(".maps");`:                                           "m: member key_size of the declaration says 8 bytes, and another member 4",
		`struct { __uint(type, 1); __array(values, int (void *)); } m SEC(".maps");`:                                                   "m: member values of the declaration is for maps of maps and program arrays",
		`struct { __uint(type, 12); __array(values, int (void *)); } m SEC(".maps");`:                                                  "m: member values of the declaration is not a struct of __uint",
		`struct in { __uint(type, 1); }; struct { __uint(type, 3); __array(values, struct in); } m SEC(".maps");`:                      "m: member values of the declaration is not an array of pointers to functions",
		`struct in { __uint(type, 1); __uint(pinning, 1); }; struct { __uint(type, 12); __array(values, struct in); } m SEC(".maps");`: "m: member values of the declaration member pinning of the declaration is of an inner map",
		`struct s { u32 a; }; extern struct s CONFIG_X __kconfig; int use(void) { return CONFIG_X.a; }`:                                "CONFIG_X: is not of a type that a Kconfig option can have",
		`extern char CONFIG_X[2000000] __kconfig; int use(void) { return CONFIG_X[9]; }`:                                               "CONFIG_X: has 2000000 bytes, which no kconfig value has",
		`u32 x SEC(".addr_space.1"); int use(void) { return x; }`:                                                                      "section .addr_space.1: has variables in an arena, and the object has none",
		`u16 v SEC("version") = 1;`: "section version: has 2 bytes, not the 4 of a number",
		`struct { __uint(type, 1); } own SEC(".maps"); extern struct { __uint(type, 1); } m SEC(".maps"); int use(void) { return (long) &m; }`:                               "m: is declared extern and defined nowhere: link the object with the file that defines the map",
		`struct { u32 type, key_size; } m SEC("maps"); int use(void) { return (long) &m; }`:                                                                                  "section .text: refers to m in section maps, which is a map in a form that loaders dropped (libbpf 1.0): declare it as a struct of __uint and __type members in SEC(\".maps\")",
		`static struct { __uint(type, 1); } m SEC(".maps"); int use(void) { return (long) &m; }`:                                                                             "m: is a map that is static: declare it in SEC(\".maps\") without the word static",
		`struct t { int (*f)(void); }; static __noinline int f(void) { return 0; } SEC(".struct_ops") struct t t = { .f = f };`:                                              "t: member f is something in section .text, which is not a program",
		`struct { __uint(type, 13); __type(key, u64); __uint(max_entries, 2); __array(values, struct { __uint(type, 1); }); } m SEC(".maps");`:                               "",
		`struct in { __uint(type, 1); } in SEC(".maps"); struct { __uint(type, 13); __type(key, u64); __array(values, struct in); } m SEC(".maps") = { .values = { &in } };`: "m: has values in C, whose keys are their indices, and keys of 8 bytes",
	} {
		data := linkertest.Compile(t, "bpfel", "typedef unsigned short u16;"+source+prog)[0].Data
		_, err := imagegen.Build("x.o", data)
		if message == "" && err == nil {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%s\ngives %v\nwant %s", source, err, message)
		}
	}
}

// Some versions of clang move constants to sections that BTF does not know, which the
// linker mends.
func TestMovedSection(t *testing.T) {
	file, err := elfobj.Parse(inputs()[0])
	if err != nil {
		t.Fatal(err)
	}
	file.Section(".rodata").Name = ".rodata.cst8"
	data, err := file.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	const message = "section .rodata: BTF has its variables, and the file has no such section, as clang has moved them: link the object with bpfgen link"
	if _, err := imagegen.Build("x.o", data); err == nil || !strings.Contains(err.Error(), message) {
		t.Errorf("got %v, want %s", err, message)
	}
}

// Objects without types have an image too: programs without maps need none.
func TestWithoutBTF(t *testing.T) {
	f := &objtest.File{License: "GPL", NoBTF: true, Programs: []objtest.Program{{Name: "prog", Section: "xdp", Refs: []string{"count", "help"}}, {Name: "help", Section: ".text", Static: true}},
		Vars: []objtest.Var{{Section: ".data", Name: "count", Type: objtest.U32, Value: []byte{1, 0, 0, 0}}}}
	o := build(t, f.Build())
	if len(o.Programs) != 1 || len(o.BTF) != 0 || len(o.Maps) != 1 || image.Len(o.Relocations) == 0 {
		t.Errorf("%d programs, %d bytes of BTF, %d maps, %d relocations", len(o.Programs), len(o.BTF), len(o.Maps), image.Len(o.Relocations))
	}
}

// inputs are objects that have something of all that an image can have.
func inputs() [][]byte {
	u32 := objtest.U32
	ops := objtest.Struct("ops", objtest.M("number", objtest.U64), objtest.M("call", objtest.Ptr(&btf.FuncProto{Return: objtest.S32})))
	inner := objtest.Map(1, 2, u32, u32)
	outer := objtest.Map(12, 2, u32, nil)
	outer = objtest.Struct("", append(outer.Members, objtest.M("values", objtest.Array(objtest.Ptr(inner), 0)))...)
	f := objtest.File{
		License: "GPL",
		Programs: []objtest.Program{
			{Name: "prog", Section: "xdp", Refs: []string{"zero", "CONFIG_HZ", "CONFIG_TEXT", "counts", "limit", "symbol", "typed", "helper", "hits"}},
			{Name: "helper", Section: ".text", Static: true},
			{Name: "on_call", Section: "struct_ops"},
		},
		Vars: []objtest.Var{
			{Section: ".rodata", Name: "limit", Type: objtest.Const(u32), Value: []byte{1, 2, 3, 4}},
			{Section: ".rodata", Name: "bpf_metadata_x", Type: objtest.Const(u32), Static: true},
			{Section: ".bss.long", Name: "zero", Type: objtest.U64},
			{Section: ".data", Name: "hidden", Type: u32, Visibility: 2, Value: []byte{1}},
			{Section: ".maps", Name: "counts", Type: objtest.Map(1, 16, u32, objtest.U64)},
			{Section: ".maps", Name: "memory", Type: objtest.Map(33, 4, nil, nil)},
			{Section: ".maps", Name: "outer", Type: outer},
			{Section: ".addr_space.1", Name: "hits", Type: u32, Value: []byte{1, 2, 3, 4}},
			{Section: ".kconfig", Name: "CONFIG_HZ", Type: objtest.Const(objtest.Typedef("u32", u32)), Extern: true},
			{Section: ".kconfig", Name: "CONFIG_TEXT", Type: objtest.Array(objtest.Char, 5), Extern: true, Weak: true},
			{Section: ".ksyms", Name: "symbol", Type: objtest.Const((*btf.Void)(nil)), Extern: true, Weak: true},
			{Section: ".ksyms", Name: "typed", Type: objtest.Const(objtest.S32), Extern: true},
			{Section: ".struct_ops.link", Name: "table", Type: ops, Value: []byte("12345678"), Refs: []objtest.Ref{{Offset: 8, Name: "on_call"}}},
		},
	}
	var all [][]byte
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, linked := range []bool{false, true} {
			f.Order, f.Linked = order, linked
			all = append(all, f.Build())
		}
	}
	return all
}

func checkMutated(t *testing.T, seed uint64, all [][]byte) (ok bool) {
	r := rand.New(rand.NewPCG(seed, 0))
	data, damage := objtest.Mutate(r, all[r.IntN(len(all))])
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("seed %d: %s: panics: %v", seed, damage, p)
			panic(p)
		}
	}()
	o, err := imagegen.Build("x.o", data)
	if err != nil {
		if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == '\ufffd' }) {
			t.Errorf("seed %d: %s: error that is not readable: %q", seed, damage, err)
		}
		return false
	}
	encoded, err := o.Encode()
	if err != nil {
		t.Errorf("seed %d: %s: has no image: %v", seed, damage, err)
		return false
	}
	if len(encoded) > 2*len(data)+4096 {
		t.Errorf("seed %d: %s: %d bytes have an image of %d", seed, damage, len(data), len(encoded))
	}
	return true
}

// TestMutated takes damaged objects, which must have an error that people can read, or
// an image.
func TestMutated(t *testing.T) {
	all := inputs()
	for _, data := range all {
		build(t, data)
	}
	built := 0
	for seed := range uint64(20_000) {
		if checkMutated(t, seed, all) {
			built++
		}
	}
	if built == 0 {
		t.Error("no damaged object has an image")
	}
}

func FuzzMutated(f *testing.F) {
	all := inputs()
	f.Add(uint64(0))
	f.Fuzz(func(t *testing.T, seed uint64) { checkMutated(t, seed, all) })
}

func BenchmarkBuild(b *testing.B) {
	f := objtest.File{Linked: true}
	for i := range 1000 {
		f.Vars = append(f.Vars, objtest.Var{Section: ".data", Name: fmt.Sprintf("variable_%d", i), Type: objtest.U64})
	}
	for i := range 200 {
		f.Programs = append(f.Programs, objtest.Program{Name: fmt.Sprintf("prog_%d", i), Section: "xdp", Refs: []string{"variable_1", "variable_2"}})
	}
	data := f.Build()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		describe(b, data)
	}
}
