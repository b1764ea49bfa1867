package linker_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker/linkertest"
)

var targets = []string{"bpfel", "bpfeb"}

// link links the files, checks the result, and checks that linking it again
// changes nothing.
func link(t testing.TB, inputs []linker.Input, partial bool) []byte {
	t.Helper()
	data, err := linker.Link(inputs, linker.Options{Partial: partial})
	if err != nil {
		t.Fatal(err)
	}
	if err := linkertest.Check(data, !partial); err != nil {
		t.Fatal(err)
	}
	again, err := linker.Link([]linker.Input{{Name: "linked.o", Data: data}}, linker.Options{Partial: partial})
	if err != nil {
		t.Fatalf("linking the result again: %v", err)
	}
	if err := linkertest.Check(again, !partial); err != nil {
		t.Fatalf("linking the result again: %v", err)
	}
	if got, want := describe(t, again), describe(t, data); got != want {
		t.Fatalf("linking the result again gives\n%s\nwant\n%s", got, want)
	}
	return data
}

// needTag skips the test where clang leaves out the tag, as older ones do for the
// parameters of what is only declared.
func needTag(t testing.TB, inputs []linker.Input, tag string) {
	t.Helper()
	for _, in := range inputs {
		if bytes.Contains(in.Data, append([]byte(tag), 0)) {
			return
		}
	}
	t.Skipf("needs a clang that writes the tag %q into BTF (clang 21 does, clang 14 does not)", tag)
}

var address = regexp.MustCompile(`:[0-9a-f]{8,16}\b`)

// describe returns what is in an object, in an order that does not depend on that
// of the inputs.
func describe(t testing.TB, data []byte) string {
	t.Helper()
	file, err := elfobj.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, sec := range file.Sections {
		if sec.Name == ".BTF" || sec.Name == ".BTF.ext" {
			continue
		}
		lines = append(lines, fmt.Sprintf("section %s %s %s %d bytes, %d relocations", sec.Name, sec.Type, sec.Flags, uint64(len(sec.Data))+sec.Size, len(sec.Relocs)))
	}
	for _, sym := range file.Symbols {
		if sym.Type == elf.STT_SECTION {
			continue
		}
		line := fmt.Sprintf("symbol %s %s %s %s %d bytes", sym.Name, sym.Bind, sym.Type, elf.ST_VISIBILITY(sym.Other), sym.Size)
		if sym.Section != nil {
			line += " in " + sym.Section.Name
			if data := sym.Section.Data; data != nil && sym.Section.Flags&elf.SHF_EXECINSTR == 0 {
				line += fmt.Sprintf(" = %x", data[sym.Value:sym.Value+sym.Size])
			}
		}
		lines = append(lines, line)
	}
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(file.Section(".BTF").Data))
	if err != nil {
		t.Fatal(err)
	}
	for typ, err := range spec.All() {
		if err != nil {
			t.Fatal(err)
		}
		switch typ := typ.(type) {
		case *btf.Datasec:
			for _, v := range typ.Vars {
				lines = append(lines, fmt.Sprintf("in list %s %v", typ.Name, v.Type))
			}
		default:
			// The package prints the addresses of types, too.
			lines = append(lines, address.ReplaceAllString(fmt.Sprintf("type %+20v", typ), ""))
		}
	}
	lines = append(lines, declTags(t, file)...)
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// declTags returns the declaration tags of variables and functions.
func declTags(t testing.TB, file *elfobj.File) []string {
	t.Helper()
	raw, err := rawbtf.Parse(file.Section(".BTF").Data, nil)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for id := range raw.Len() {
		tag := raw.At(id)
		if tag.Kind() != rawbtf.DeclTag {
			continue
		}
		of := tag.Elem()
		if of.Kind() != rawbtf.Var && of.Kind() != rawbtf.Func {
			continue
		}
		line := "tag of " + of.Name()
		if i := tag.Component(); i >= 0 {
			line += fmt.Sprintf(", parameter %d", i)
		}
		lines = append(lines, fmt.Sprintf("%s: %q", line, tag.Name()))
	}
	return lines
}

// values returns the initial values of the global variables, as numbers.
func values(t testing.TB, data []byte) map[string]uint64 {
	t.Helper()
	file, err := elfobj.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]uint64)
	for _, sym := range file.Symbols {
		if sym.Type != elf.STT_OBJECT || sym.Bind == elf.STB_LOCAL || sym.Section.Name == ".maps" || sym.Section.Name == "license" {
			continue
		}
		b := make([]byte, 8)
		if sym.Section.Type == elf.SHT_PROGBITS {
			copy(b, sym.Section.Data[sym.Value:][:sym.Size])
		}
		if file.Order == binary.BigEndian {
			slices.Reverse(b[:sym.Size])
		}
		out[sym.Name] = binary.LittleEndian.Uint64(b)
	}
	return out
}

// TestRules links the files of each case, in both orders unless order matters.
func TestRules(t *testing.T) {
	for name, tt := range map[string]struct {
		files   []string
		ordered bool
		partial bool
		values  map[string]uint64
		// want and never are parts of what describe returns.
		want, never []string
	}{
		"each file has its view of a kernel's struct": {
			files: []string{
				`struct task { int pid; int tgid; } __attribute__((preserve_access_index)); extern int lib(struct task *t); extern struct task *kept; SEC("tc") int p(void *c) { struct task *t = c; return lib(t) + __builtin_preserve_field_info(t->pid, 0); }`,
				`struct task { int tgid; long pid; } __attribute__((preserve_access_index)); struct task *kept; __noinline int lib(struct task *t) { return __builtin_preserve_field_info(t->tgid, 0) + !!kept; }`,
			},
			want: []string{`type Struct:"task"[fields=2 fieldNames=[pid tgid]]`, `type Struct:"task"[fields=2 fieldNames=[tgid pid]]`},
		},
		"strong beats weak": {
			files: []string{
				`u64 a __weak = 1; u64 pad = 7; SEC("tc") int p(void *c) { return a + pad; }`,
				`u64 a = 2; SEC("tc") int q(void *c) { return a; }`,
			},
			values: map[string]uint64{"a": 2, "pad": 7},
		},
		"first weak wins": {
			files: []string{
				`u64 before = 9; u64 a __weak = 1; SEC("tc") int p(void *c) { return a + before; }`,
				`u64 a __weak = 2; u64 after = 3; SEC("tc") int q(void *c) { return a + after; }`,
			},
			ordered: true,
			values:  map[string]uint64{"a": 1, "before": 9, "after": 3},
		},
		"weak definitions in two sections": {
			files: []string{
				`u64 a __weak; u64 x = 4; SEC("tc") int p(void *c) { return a + x; }`,
				`u64 a = 2; SEC("tc") int q(void *c) { return a; }`,
				`u64 a __weak = 3; SEC("tc") int r(void *c) { return a; }`,
			},
			values: map[string]uint64{"a": 2, "x": 4},
		},
		"strong definition after a weak one and a strong declaration": {
			files: []string{
				`u64 a __weak = 1; SEC("tc") int p(void *c) { return a; }`,
				`extern u64 a; SEC("tc") int q(void *c) { return a; }`,
				`u64 a = 2; SEC("tc") int r(void *c) { return a; }`,
			},
			values: map[string]uint64{"a": 2},
		},
		"offsets after declarations": {
			files: []string{
				`extern u64 a, b; u64 own1 = 1, own2 = 2; SEC("tc") int p(void *c) { return a + b + own1 + own2; }`,
				`u64 other = 5, b = 6, a = 7; SEC("tc") int q(void *c) { return a + b + other; }`,
			},
			values: map[string]uint64{"own1": 1, "own2": 2, "other": 5, "b": 6, "a": 7},
		},
		"weak declarations": {
			files: []string{
				`extern u64 a __weak; extern u64 b __weak; SEC("tc") int p(void *c) { return (&a ? a : 0) + (&b ? b : 0); }`,
				`u64 a = 7; extern u64 b __weak; SEC("tc") int q(void *c) { return a + (&b ? b : 0); }`,
			},
			values: map[string]uint64{"a": 7},
			never:  []string{"symbol b "},
		},
		"weak functions without a definition": {
			files: []string{
				`int gone(int x) __weak; SEC("tc") int p(void *c) { if (gone) return gone(1); return 2; }`,
			},
			never: []string{"gone"},
		},
		"declarations stay in a partial link": {
			files: []string{
				`extern u64 a, b __weak; int f(int x); SEC("tc") int p(void *c) { return a + (&b ? b : 0) + f(1); }`,
				`extern u64 b __weak; u64 w __weak = 3; SEC("tc") int q(void *c) { return (&b ? b : 0) + w; }`,
			},
			partial: true,
			values:  map[string]uint64{"w": 3},
			want:    []string{"symbol a STB_GLOBAL STT_NOTYPE", "symbol b STB_WEAK STT_NOTYPE", "symbol f STB_GLOBAL STT_NOTYPE", "symbol w STB_WEAK"},
		},
		"one strong declaration makes all strong": {
			files: []string{
				`extern u64 a __weak; SEC("tc") int p(void *c) { return &a ? a : 0; }`,
				`extern u64 a; SEC("tc") int q(void *c) { return a; }`,
			},
			partial: true,
			want:    []string{"symbol a STB_GLOBAL STT_NOTYPE"},
		},
		"hidden spreads": {
			files: []string{
				`__hidden extern u64 a; u64 b = 1; __hidden u64 w __weak = 1; SEC("tc") int p(void *c) { return a + w; }`,
				`u64 a = 7; __hidden extern u64 b; u64 w = 5; SEC("tc") int q(void *c) { return a + b; }`,
			},
			want: []string{"symbol a STB_GLOBAL STT_OBJECT STV_HIDDEN", "symbol b STB_GLOBAL STT_OBJECT STV_HIDDEN", "symbol w STB_GLOBAL STT_OBJECT STV_HIDDEN"},
		},
		"static and global of one name": {
			files: []string{
				`static volatile u64 a = 11; u64 f(void) { static volatile u64 b = 12; return a + b; } SEC("tc") int p(void *c) { return f(); }`,
				`u64 a = 22; u64 b = 23; SEC("tc") int q(void *c) { static volatile u64 b = 24; return a + b; }`,
				`extern u64 a; static volatile u64 b = 33; SEC("tc") int r(void *c) { return a + b; }`,
			},
			values: map[string]uint64{"a": 22, "b": 23},
			want:   []string{"symbol a STB_LOCAL STT_OBJECT", "symbol b STB_LOCAL STT_OBJECT"},
		},
		"static functions of one name": {
			files: []string{
				`static __noinline int f(int x) { return x + 1; } SEC("tc") int p(void *c) { return f(1); }`,
				`static volatile u64 v = 3; static __noinline int f(int x) { return x + v; } SEC("tc") int q(void *c) { return f(1); }`,
			},
			want: []string{"symbol f STB_LOCAL STT_FUNC"},
		},
		"dead weak functions": {
			files: []string{
				`extern u64 only_here; __weak __noinline int f(int x) { return x + only_here; } __noinline int g(int x) { return x * 2; } SEC("tc") int p(void *c) { return f(1) + g(2); }`,
				`__noinline int f(int x) { return x - 1; } SEC("tc") int q(void *c) { return f(1); }`,
			},
			// 2 instructions of the one that is kept and 3 of g.
			never: []string{"only_here"},
		},
		"maps declared before they are defined": {
			files: []string{
				mapOf("extern", "m", "") + `SEC("tc") int p(void *c) { u32 k = 0; u64 *v = lookup(&m, &k); return v ? *v : 0; }`,
				mapOf("", "other", "") + mapOf("", "m", "") + `SEC("tc") int q(void *c) { u32 k = 0; u64 *v = lookup(&m, &k); return v ? *v : 0; }`,
			},
			want: []string{"symbol m STB_GLOBAL STT_OBJECT", "in list .maps Var:\"m\"", "in list .maps Var:\"other\""},
		},
		"weak maps": {
			files: []string{
				mapOf("__weak", "m", "") + mapOf("", "n", "") + `SEC("tc") int p(void *c) { u32 k = 0; u64 *v = lookup(&m, &k); return v ? *v : 0; }`,
				mapOf("__weak", "m", "") + `SEC("tc") int q(void *c) { u32 k = 0; u64 *v = lookup(&m, &k); return v ? *v : 0; }`,
			},
			want: []string{"symbol m STB_GLOBAL STT_OBJECT"},
		},
		"sections with names of their own": {
			files: []string{
				`u64 d SEC(".data.x") = 1; const volatile u64 r SEC(".rodata.x") = 2; u64 b SEC(".bss.x"); SEC("tc") int p(void *c) { return d + r + b; }`,
				`u64 d2 SEC(".data.x") = 3; const volatile u64 r2 SEC(".rodata.x") = 4; u64 b2 SEC(".bss.x"); extern u64 d SEC(".data.x"); SEC("tc") int q(void *c) { return d + d2 + r2 + b2; }`,
			},
			values: map[string]uint64{"d": 1, "r": 2, "b": 0, "d2": 3, "r2": 4, "b2": 0},
		},
		"kconfig of two files": {
			files: []string{
				`extern u32 LINUX_KERNEL_VERSION __kconfig; extern char CONFIG_NAME[8] __kconfig; SEC("tc") int p(void *c) { return LINUX_KERNEL_VERSION + CONFIG_NAME[1]; }`,
				`extern u32 LINUX_KERNEL_VERSION __kconfig; extern char CONFIG_NAME[16] __kconfig; extern u64 CONFIG_HZ __kconfig __weak; SEC("tc") int q(void *c) { return LINUX_KERNEL_VERSION + CONFIG_HZ + CONFIG_NAME[2]; }`,
			},
			want: []string{"symbol CONFIG_HZ STB_WEAK", "symbol LINUX_KERNEL_VERSION STB_GLOBAL", "in list .kconfig Var:\"CONFIG_NAME\""},
		},
		"ksyms with and without a type": {
			files: []string{
				`struct rq { int cpu; }; extern const void bpf_link_fops __ksym; extern const struct rq runqueues __ksym; extern int kfunc(int x) __ksym; SEC("tc") int p(void *c) { return (long) &bpf_link_fops + runqueues.cpu + kfunc(1); }`,
				`struct rq { int cpu; }; extern const void bpf_link_fops __ksym __weak; extern const struct rq runqueues __ksym; extern int kfunc(int x) __ksym; SEC("tc") int q(void *c) { return (long) &bpf_link_fops + runqueues.cpu + kfunc(1); }`,
			},
			want: []string{"symbol bpf_link_fops STB_GLOBAL", "in list .ksyms Func:\"kfunc\"", "in list .ksyms Var:\"runqueues\""},
		},
		"arena": {
			files: []string{
				`struct { __uint(type, 33); __uint(map_flags, 1024); __uint(max_entries, 10); } space SEC(".maps"); u64 zero SEC(".addr_space.1"); u64 one SEC(".addr_space.1") = 1; SEC("tc") int p(void *c) { return zero + one; }`,
				`u64 two SEC(".addr_space.1") = 2; extern u64 one SEC(".addr_space.1"); SEC("tc") int q(void *c) { return one + two; }`,
			},
			values: map[string]uint64{"zero": 0, "one": 1, "two": 2},
			want:   []string{"in list .addr_space.1 Var:\"zero\"", "in list .addr_space.1 Var:\"one\"", "in list .addr_space.1 Var:\"two\""},
		},
		"license of another name": {
			files: []string{
				`char LICENSE[] SEC("license") = "GPL"; SEC("tc") int p(void *c) { return 1; }`,
				`const char _license[] SEC("license") = "GPL"; SEC("tc") int q(void *c) { return 2; }`,
			},
			// The first name is kept, of what is the same.
			ordered: true,
			want:    []string{"symbol LICENSE STB_GLOBAL STT_OBJECT STV_DEFAULT 4 bytes in license = 47504c00"},
			never:   []string{"_license"},
		},
		"function pointers in data": {
			files: []string{
				`SEC("struct_ops/f") int f(void *c) { return 1; } SEC("struct_ops/g") int g(void *c) { return 2; } struct ops { int (*f)(void *c); int (*g)(void *c); }; struct ops o SEC(".struct_ops") = { f, g };`,
				`SEC("struct_ops/h") int h(void *c) { return 3; } SEC("struct_ops/k") int k(void *c) { return 4; } struct ops { int (*f)(void *c); int (*g)(void *c); }; struct ops o2 SEC(".struct_ops") = { h, k };`,
			},
			want: []string{"section .struct_ops SHT_PROGBITS SHF_WRITE+SHF_ALLOC 32 bytes, 4 relocations"},
		},
		"struct_ops maps": {
			files: []string{
				`struct ops { int (*f)(void *c); int n; }; SEC("struct_ops") int a(void *c) { return 1; } struct ops o SEC("?.struct_ops.link") = { a, 1 };`,
				`struct ops { int (*f)(void *c); int n; }; SEC("struct_ops.s") int b(void *c) { return 1; } struct ops p SEC(".struct_ops") = { b, 2 };
				struct ops own SEC("?.struct_ops.link") __hidden = { b, 3 }; struct ops q SEC("?.struct_ops.link") = { b, 4 };`,
			},
			want: []string{
				"section ?.struct_ops.link SHT_PROGBITS SHF_WRITE+SHF_ALLOC 48 bytes, 3 relocations",
				"section .struct_ops SHT_PROGBITS SHF_WRITE+SHF_ALLOC 16 bytes, 1 relocations",
				"in list ?.struct_ops.link Var:\"o\"", "in list ?.struct_ops.link Var:\"q\"", "in list .struct_ops Var:\"p\"",
				"symbol own STB_GLOBAL STT_OBJECT STV_HIDDEN",
			},
		},
		// Clang puts them in .addr_space.1 since version 19.
		"address space": {
			files: []string{
				`struct { __uint(type, 33); __uint(map_flags, 1024); __uint(max_entries, 10); } space SEC(".maps"); u64 __arena zero; u64 __arena one = 1; extern u32 __arena two; SEC("tc") int p(void *c) { return zero + one + two; }`,
				`static u32 __arena one = 7; u32 __arena two = 2; extern u64 __arena zero; SEC("tc") int q(void *c) { return one++ + two + zero; }`,
			},
			values: map[string]uint64{"zero": 0, "one": 1, "two": 2},
		},
		"forward declarations": {
			files: []string{
				`struct in; struct out { struct in *in; int n; }; struct out o = { 0, 1 }; SEC("tc") int p(void *c) { return o.n; }`,
				`struct in { struct out *out; int m; }; struct out { struct in *in; int n; }; extern struct out o; struct in i = { &o, 2 }; SEC("tc") int q(void *c) { return o.n + i.m; }`,
			},
			never: []string{"Fwd"},
		},
		// Which has no BTF.
		"a file that defines nothing": {
			files: []string{
				`u64 a = 1; SEC("tc") int p(void *c) { return a; }`,
				`#ifdef NEVER
				u64 b = 1;
				#endif
				extern u64 a; typedef struct { int n; } t; static int unused(t *x) { return x->n; }`,
			},
			values: map[string]uint64{"a": 1},
		},
		"tags": {
			files: []string{
				`#define tag(x) __attribute__((btf_decl_tag(x)))
				struct s { int a tag("one"); int b; }; struct s s1; static __noinline int f(int x tag("arg")) { return x; } SEC("tc") int p(void *c) { return f(s1.a); }`,
				`#define tag(x) __attribute__((btf_decl_tag(x)))
				struct s { int a tag("two"); int b; }; struct s s2; static __noinline int f(int x) { return x; } SEC("tc") int q(void *c) { return f(s2.a); }`,
			},
		},
		// Of which clang writes none at the definition: the prototype of another file
		// has them.
		"tags of declarations": {
			files: []string{
				`#define tag(x) __attribute__((btf_decl_tag(x)))
				int f(int x, void *c tag("arg:ctx")) tag("both") tag("declared"); u64 v tag("both") tag("weak") __weak = 1; SEC("tc") int p(void *c) { return f(1, c) + v; }`,
				`#define tag(x) __attribute__((btf_decl_tag(x)))
				tag("both") tag("defined") __noinline int f(int x, void *c) { return x + (c != 0); } u64 v tag("both") = 2; SEC("tc") int q(void *c) { return f(v, c); }`,
				`#define tag(x) __attribute__((btf_decl_tag(x)))
				int f(int x tag("arg:nonnull"), void *c tag("arg:ctx")); SEC("tc") int r(void *c) { return f(2, c); }`,
			},
			want: []string{
				`tag of f: "both"`, `tag of f: "declared"`, `tag of f: "defined"`, `tag of f, parameter 0: "arg:nonnull"`, `tag of f, parameter 1: "arg:ctx"`,
				`tag of v: "both"`, `tag of v: "weak"`,
			},
		},
		"tags of what no file defines": {
			files: []string{
				`#define tag(x) __attribute__((btf_decl_tag(x)))
				int f(void *c tag("arg:ctx")); int gone(int x tag("arg:gone")) __weak; SEC("tc") int p(void *c) { return f(c) + (gone ? gone(1) : 0); }`,
				`#define tag(x) __attribute__((btf_decl_tag(x)))
				int f(void *c) tag("second"); SEC("tc") int q(void *c) { return f(c); }`,
			},
			partial: true,
			want:    []string{`tag of f: "second"`, `tag of f, parameter 0: "arg:ctx"`, `tag of gone, parameter 0: "arg:gone"`},
		},
	} {
		for _, target := range targets {
			t.Run(name+"/"+target, func(t *testing.T) {
				inputs := linkertest.Compile(t, target, tt.files...)
				for _, want := range tt.want {
					if _, tag, ok := strings.Cut(want, ": "); ok && strings.HasPrefix(want, "tag of ") {
						needTag(t, inputs, strings.Trim(tag, `"`))
					}
				}
				data := link(t, inputs, tt.partial)
				same, err := linker.Link(inputs, linker.Options{Partial: tt.partial})
				if err != nil || !bytes.Equal(same, data) {
					t.Errorf("the same files give other bytes: %v", err)
				}
				orders := [][]byte{data}
				if !tt.ordered {
					slices.Reverse(inputs)
					orders = append(orders, link(t, inputs, tt.partial))
				}
				for i, data := range orders {
					text := describe(t, data)
					for _, want := range tt.want {
						if !strings.Contains(text, want) {
							t.Errorf("order %d: %q is not in the object:\n%s", i, want, text)
						}
					}
					for _, never := range tt.never {
						if strings.Contains(text, never) {
							t.Errorf("order %d: %q is in the object:\n%s", i, never, text)
						}
					}
					if tt.values != nil {
						if got := values(t, data); !maps.Equal(got, tt.values) {
							t.Errorf("order %d: values are %v, want %v", i, got, tt.values)
						}
					}
					if text != describe(t, orders[0]) {
						t.Errorf("another order gives another object:\n%s\nwant\n%s", text, describe(t, orders[0]))
					}
				}
			})
		}
	}
}

// mapOf declares an array map of u64.
func mapOf(storage, name, more string) string {
	before, after := storage, ""
	if storage == "__weak" {
		before, after = "", "__weak"
	}
	return before + " struct { __uint(type, 2); __uint(max_entries, 4); __type(key, u32); __type(value, u64); " + more + " } " + name + " SEC(\".maps\") " + after + ";\n"
}

func TestErrors(t *testing.T) {
	const use = `SEC("tc") int %s(void *c) { return a; }`
	p, q := fmt.Sprintf(use, "p"), fmt.Sprintf(use, "q")
	for name, tt := range map[string]struct {
		files   []string
		partial bool
		want    string
	}{
		"two definitions": {
			files: []string{`u64 a = 1;` + p, `u64 a = 2;` + q},
			want:  "1.o: a: is defined, and in 0.o too: make one of them static or weak (__weak), or rename it",
		},
		"two functions": {
			files: []string{"\n__noinline int f(int x) { return x; }", "\n\n__noinline int f(int x) { return x; }"},
			want:  "0.c:2: make one of them static",
		},
		"undefined": {
			files: []string{`extern u64 a;` + p, "extern u64 a;\n" + q},
			want:  "0.c:1), and in 1.o, and no file defines it: link the file that defines it too",
		},
		"undefined, in a file whose name would be a message": {
			files: []string{`extern u64 a;` + "\n# 7 \"x\\033[31mRED\\nb.o: all is well\\342\\200\\256.c\"\n" + p},
			want:  `x\x1b[31mRED\nb.o: all is well\u202e.c":7), and no file defines it`,
		},
		"undefined function": {
			files: []string{"int f(int x);\nSEC(\"tc\") int p(void *c)\n{\n\treturn f(1);\n}"},
			want:  "0.o: f: is declared here (used at ",
		},
		"sizes": {
			files: []string{`u64 a = 1;` + p, `extern u32 a;` + q},
			want:  `1.o: a: is declared with another type than it is defined with in 0.o: an integer "unsigned int" of 4 bytes here and an integer "unsigned long long" of 8 bytes there: let both files include one header that declares it`,
		},
		"kinds": {
			files: []string{`u64 a = 1;` + p, `struct s { u64 v; }; extern struct s a; SEC("tc") int q(void *c) { return a.v; }`},
			want:  `1.o: a: is declared with another type than it is defined with in 0.o: a struct s here and an integer "unsigned long long" there`,
		},
		"members": {
			files: []string{`struct s { int v, w; } a = {1}; SEC("tc") int p(void *c) { return a.v; }`, `struct s { int v, u; }; extern struct s a; SEC("tc") int q(void *c) { return a.v; }`},
			want:  `member 2: u here and w there`,
		},
		"types of members": {
			files: []string{`struct s { struct { int v; float w; } in; } a; SEC("tc") int p(void *c) { return a.in.v; }`, `struct s { struct { int v; int w; } in; }; extern struct s a; SEC("tc") int q(void *c) { return a.in.v; }`},
			want:  `member in: member w: an integer int here and a float float there`,
		},
		"parameters": {
			files: []string{"__noinline int f(int x) { return x; }", `int f(int x, int y); SEC("tc") int q(void *c) { return f(1, 2); }`},
			want:  `a function with 2 parameters here and a function with 1 parameters there`,
		},
		"results": {
			files: []string{"__noinline int f(int x) { return x; }", `u64 f(int x); SEC("tc") int q(void *c) { return f(1); }`},
			want:  `the result: an integer "unsigned long long" of 8 bytes here and an integer int of 4 bytes there`,
		},
		"variable and function": {
			files: []string{"int a = 1;" + p, `int a(int x); SEC("tc") int q(void *c) { return a(1); }`},
			want:  `a function here and a variable there`,
		},
		"maps": {
			files: []string{mapOf("", "m", ""), mapOf("extern", "m", "__uint(map_flags, 1);") + `SEC("tc") int q(void *c) { u32 k = 0; return lookup(&m, &k) != 0; }`},
			want:  "1.o: m: is declared with another type than it is defined with in 0.o: map_flags: 1 here and 0 there",
		},
		"keys of maps": {
			files: []string{mapOf("", "m", ""), strings.Replace(mapOf("extern", "m", ""), "key, u32", "key, u64", 1) + `SEC("tc") int q(void *c) { u32 k = 0; return lookup(&m, &k) != 0; }`},
			want:  "key_size: 8 here and 4 there",
		},
		"inner maps": {
			files: []string{
				`struct inner { __uint(type, 2); __uint(max_entries, 4); __type(key, u32); __type(value, u64); }; struct { __uint(type, 12); __uint(max_entries, 2); __type(key, u32); __array(values, struct inner); } m SEC(".maps");`,
				`struct inner { __uint(type, 2); __uint(max_entries, 5); __type(key, u32); __type(value, u64); }; extern struct { __uint(type, 12); __uint(max_entries, 2); __type(key, u32); __array(values, struct inner); } m SEC(".maps"); SEC("tc") int q(void *c) { u32 k = 0; return lookup(&m, &k) != 0; }`,
			},
			want: "the inner map: max_entries: 5 here and 4 there",
		},
		"license": {
			files: []string{`char l[] SEC("license") = "GPL";`, `char l[] SEC("license") = "BSD";`},
			want:  `1.o: section license: is "BSD" here and "GPL" in 0.o`,
		},
		"flags of sections": {
			files: []string{`u64 a SEC(".data.x") = 1;` + p, `const volatile u64 b SEC(".data.x") = 1;`},
			want:  `1.o: section .data.x: has the flags SHF_ALLOC here and SHF_WRITE+SHF_ALLOC in 0.o`,
		},
		"kconfig of two types": {
			files: []string{`extern u32 a __kconfig;` + p, `extern _Bool a __kconfig;` + q},
			want:  "1.o: a: is declared with another type than it is declared with in 0.o",
		},
		"kconfig, boolean and character": {
			files: []string{`extern u8 a __kconfig;` + p, `extern _Bool a __kconfig;` + q},
			want:  `an integer _Bool here and an integer "unsigned char" there`,
		},
		"kconfig and ksym": {
			files: []string{`extern u32 a __kconfig;` + p, `extern u32 a __ksym;` + q},
			want:  `1.o: a: is in section .ksyms here and in section .kconfig in 0.o`,
		},
		"kconfig and variable": {
			files: []string{`extern u32 a __kconfig;` + p, `u32 a = 1;` + q},
			want:  `0.o: a: is in section .kconfig here and in section .data in 1.o`,
		},
		"section of a declaration": {
			files: []string{`extern u64 a SEC(".data.x");` + p, `u64 a = 1;` + q},
			want:  `0.o: a: is in section .data.x here and in section .data in 1.o`,
		},
		"visibility": {
			files:   []string{`__attribute__((visibility("protected"))) u64 a = 1;` + p},
			want:    "0.o: a: has the visibility STV_PROTECTED",
			partial: true,
		},
		"nothing": {
			files: []string{"typedef int t;", "extern u64 a;"},
			want: "0.o: defines nothing: no variable, map or program: define one, or look for an #if that leaves all of it out\n" +
				"1.o: defines nothing",
		},
		"common": {
			files: []string{"__attribute__((common)) u64 a;" + p},
			want:  "0.o: a: is a common symbol, which has no section: give it a value, or compile with -fno-common",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inputs := linkertest.Compile(t, "bpfel", tt.files...)
			_, err := linker.Link(inputs, linker.Options{Partial: tt.partial})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is\n%v\nwant\n%s", err, tt.want)
			}
		})
	}
}

func TestByteOrders(t *testing.T) {
	little := linkertest.Compile(t, "bpfel", `SEC("tc") int p(void *c) { return 1; }`)
	big := linkertest.Compile(t, "bpfeb", `SEC("tc") int p(void *c) { return 1; }`)
	const want = "big.o: is BigEndian and 0.o is LittleEndian: compile both with the same -target"
	if _, err := linker.Link([]linker.Input{little[0], {Name: "big.o", Data: big[0].Data}}, linker.Options{}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the error is %v, want %s", err, want)
	}
}

// TestFill: a section that is zeros in one file and has contents in another.
func TestFill(t *testing.T) {
	inputs := linkertest.Compile(t, "bpfel",
		`u64 a SEC(".bss.x"), b SEC(".bss.x"); SEC("tc") int p(void *c) { return a + b; }`,
		`u64 c SEC(".bss.x"); SEC("tc") int q(void *c_) { return c; }`)
	file, err := elfobj.Parse(inputs[1].Data)
	if err != nil {
		t.Fatal(err)
	}
	sec := file.Section(".bss.x")
	sec.Type, sec.Data, sec.Size = elf.SHT_PROGBITS, []byte{5, 0, 0, 0, 0, 0, 0, 0}, 0
	for _, s := range file.Sections {
		if strings.HasPrefix(s.Name, ".debug") || s.Type != elf.SHT_PROGBITS && s.Type != elf.SHT_NOBITS {
			s.Type = elf.SHT_NOTE
		}
	}
	if inputs[1].Data, err = file.Bytes(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, want := values(t, link(t, inputs, false)), (map[string]uint64{"a": 0, "b": 0, "c": 5}); !maps.Equal(got, want) {
			t.Errorf("values are %v, want %v", got, want)
		}
		slices.Reverse(inputs)
	}
}

// Names that a loader of the user's own fills in stay declared in a final object,
// with their types and what refers to them, and nothing else does.
func TestAllowUndefined(t *testing.T) {
	files := []string{
		`extern u64 hook_limit; extern u64 hook_weak __weak; int hook_run(int x); int hook_maybe(int x) __weak; extern u64 other __weak;
u64 hook_own = 3;
SEC("tc") int p(void *c) { return hook_limit + hook_own + (&hook_weak ? hook_weak : 0) + hook_run(1) + (hook_maybe ? hook_maybe(2) : 0) + (&other ? other : 0); }`,
		`extern u64 hook_own; SEC("tc") int q(void *c) { return hook_own; }`,
	}
	for _, target := range targets {
		t.Run(target, func(t *testing.T) {
			inputs := linkertest.Compile(t, target, files...)
			for range 2 {
				slices.Reverse(inputs)
				data, err := linker.Link(inputs, linker.Options{AllowUndefined: []string{"nothing", "hook_?*"}})
				if err != nil {
					t.Fatal(err)
				}
				if err := linkertest.Check(data, false); err != nil {
					t.Error(err)
				}
				file, err := elfobj.Parse(data)
				if err != nil {
					t.Fatal(err)
				}
				bind := make(map[string]elf.SymBind)
				used := make(map[string]bool)
				for _, sym := range file.Symbols {
					if sym.Section == nil {
						bind[sym.Name] = sym.Bind
					}
				}
				for _, r := range file.Section("tc").Relocs {
					used[r.Symbol.Name] = true
				}
				want := map[string]elf.SymBind{"hook_limit": elf.STB_GLOBAL, "hook_run": elf.STB_GLOBAL, "hook_weak": elf.STB_WEAK, "hook_maybe": elf.STB_WEAK}
				if !maps.Equal(bind, want) {
					t.Errorf("undefined are %v, want %v", bind, want)
				}
				got := describe(t, data)
				for name := range want {
					kind := "Var"
					if name == "hook_run" || name == "hook_maybe" {
						kind = "Func"
					}
					if !used[name] || !strings.Contains(got, fmt.Sprintf("type %s:%q[extern", kind, name)) {
						t.Errorf("%s is not declared and used in\n%s", name, got)
					}
				}
			}
			_, err := linker.Link(inputs, linker.Options{AllowUndefined: []string{"hook_l*"}})
			if err == nil || !strings.Contains(err.Error(), "hook_run: is declared here") || strings.Contains(err.Error(), "hook_limit") {
				t.Errorf("got %v", err)
			}
		})
	}
}
