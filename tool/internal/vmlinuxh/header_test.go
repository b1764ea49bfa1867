package vmlinuxh_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
	"github.com/rules-bpf/rules_bpf/tool/internal/vmlinuxh"
)

// raw returns the BTF of types, in their order.
func raw(t testing.TB, types ...btf.Type) []byte {
	t.Helper()
	builder, err := btf.NewBuilder(types, nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := builder.Marshal(nil, &btf.MarshalOptions{Order: binary.LittleEndian})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// at returns a member at a bit, and bits one of that many bits.
func at(offset btf.Bits, m btf.Member) btf.Member {
	m.Offset = offset
	return m
}

func bits(name string, t btf.Type, offset, size btf.Bits) btf.Member {
	return btf.Member{Name: name, Type: t, Offset: offset, BitfieldSize: size}
}

func structOf(name string, size uint32, members ...btf.Member) *btf.Struct {
	return &btf.Struct{Name: name, Size: size, Members: members}
}

func union(name string, size uint32, members ...btf.Member) *btf.Union {
	return &btf.Union{Name: name, Size: size, Members: members}
}

func function(result btf.Type, params ...btf.Type) *btf.FuncProto {
	f := &btf.FuncProto{Return: result}
	for _, p := range params {
		f.Params = append(f.Params, btf.FuncParam{Type: p})
	}
	return f
}

var void = (*btf.Void)(nil)

// list is a struct that points to itself.
func list() *btf.Struct {
	l := Struct("list", M("next", Ptr(void)))
	l.Members[0].Type = Ptr(l)
	return l
}

// node is a struct that points to itself by a typedef.
func node() btf.Type {
	n := Struct("node", M("next", Ptr(void)))
	td := Typedef("node_t", n)
	n.Members[0].Type = Ptr(td)
	return td
}

var constructs = []struct {
	name  string
	types []btf.Type
	want  string
	// other is set where the BTF of the header is not the same, on purpose, or where
	// there is no struct for the header's pragma.
	other bool
}{
	{"definition before use", []btf.Type{Struct("outer", M("in", Struct("inner", M("a", S32))))}, `
struct inner {
	int a;
};

struct outer {
	struct inner in;
};
`, false},
	{"declaration before pointer", []btf.Type{Struct("a", M("b", Ptr(&btf.Fwd{Name: "b", Kind: btf.FwdUnion})))}, `
union b;

struct a {
	union b *b;
};
`, false},
	{"pointer to itself", []btf.Type{list()}, `
struct list;

struct list {
	struct list *next;
};
`, false},
	{"pointer to itself by typedef", []btf.Type{node()}, `
struct node;

typedef struct node node_t;

struct node {
	node_t *next;
};
`, false},
	{"unnamed", []btf.Type{Struct("s",
		M("", union("", 8, M("l", U64), M("", Struct("", M("lo", U32), M("hi", U32))))),
		M("e", Enum("", V("ONE", 1), V("TWO", 2))),
	)}, `
struct s {
	union {
		unsigned long long l;
		struct {
			unsigned int lo;
			unsigned int hi;
		};
	};
	enum {
		ONE = 1,
		TWO = 2,
	} e;
};
`, false},
	{"unnamed member of a type with a name", []btf.Type{Struct("base", M("a", S32)), Struct("derived", M("", Struct("base2", M("a", S32))))}, `
struct base {
	int a;
};

struct base2 {
	int a;
};

struct derived {
	struct {
		int a;
	};
};
`, true},
	{"declarators", []btf.Type{Struct("s",
		M("array_of_pointers", Array(Ptr(S32), 2)),
		M("pointer_to_array", Ptr(Array(S32, 2))),
		M("matrix", Array(Array(S32, 3), 2)),
		M("function", Ptr(function(void))),
		M("functions", Array(Ptr(function(Ptr(S32), Ptr(Const(Char)), void)), 2)),
		M("returns_function", Ptr(function(Ptr(function(S32, S32)), Ptr(void)))),
		M("const_pointer", Const(Ptr(Volatile(S32)))),
		M("const_array", Const(Array(U8, 4))),
		M("flexible", Array(U64, 0)),
	)}, `
struct s {
	int *array_of_pointers[2];
	int (*pointer_to_array)[2];
	int matrix[2][3];
	void (*function)(void);
	int *(*functions[2])(const char *, ...);
	int (*(*returns_function)(void *))(int);
	volatile int *const const_pointer;
	const unsigned char const_array[4];
	unsigned long long flexible[0];
};
`, false},
	{"bit-fields", []btf.Type{structOf("s", 16, bits("a", U32, 0, 3), bits("b", U32, 32, 4), bits("c", U64, 36, 20), bits("d", Bool, 56, 1), bits("e", U8, 64, 8))}, `
struct s {
	unsigned int a: 3;
	char: 5;
	char: 8;
	short: 16;
	unsigned int b: 4;
	unsigned long long c: 20;
	_Bool d: 1;
	unsigned char e: 8;
};
`, false},
	{"packed", []btf.Type{structOf("s", 7, at(0, M("c", Char)), at(8, M("i", U32)), bits("b", U32, 40, 12))}, `
struct s {
	char c;
	unsigned int i;
	unsigned int b: 12;
} __attribute__((packed));
`, false},
	{"packed member", []btf.Type{structOf("s", 9, at(0, M("c", Char)), at(8, M("in", Struct("in", M("l", U64)))))}, `
struct in {
	unsigned long long l;
};

struct s {
	char c;
	struct in in;
} __attribute__((packed));
`, false},
	{"padding", []btf.Type{structOf("s", 24, at(0, M("c", Char)), at(64, M("d", Char)))}, `
struct s {
	char c;
	char: 8;
	short: 16;
	int: 32;
	char d;
	char: 8;
	short: 16;
	int: 32;
	long: 64;
};
`, false},
	{"much padding", []btf.Type{structOf("s", 4096, at(0, M("c", Char)), at(4000*8, M("d", Char)))}, `
struct s {
	char c;
	unsigned char __padding_1[3999];
	char d;
	char: 8;
	short: 16;
	int: 32;
	long: 64;
	long: 64;
	long: 64;
	long: 64;
	long: 64;
	long: 64;
	long: 64;
	long: 64;
	long: 64;
	long: 64;
	long: 64;
};
`, false},
	{"aligned union", []btf.Type{union("u", 16, M("l", U64))}, `
union u {
	unsigned long long l;
} __attribute__((aligned(16)));
`, false},
	{"packed union", []btf.Type{union("u", 5, M("i", U32), M("bytes", Array(U8, 5)))}, `
union u {
	unsigned int i;
	unsigned char bytes[5];
} __attribute__((packed));
`, false},
	{"members on each other", []btf.Type{structOf("s", 8, at(0, M("a", U64)), at(32, M("b", U32)))}, `
struct s {
	/* C cannot say where the members are. */
	unsigned char __padding_1[8];
};
`, true},
	{"enums", []btf.Type{
		&btf.Enum{Name: "signed", Size: 4, Signed: true, Values: []btf.EnumValue{V("MINUS", 1<<64-1)}},
		&btf.Enum{Name: "small", Size: 1, Values: []btf.EnumValue{V("S", 200)}},
		&btf.Enum{Name: "wide", Size: 8, Values: []btf.EnumValue{V("W", 1)}},
		&btf.Enum{Name: "large", Size: 8, Values: []btf.EnumValue{V("L", 1<<63)}},
		&btf.Enum{Name: "least", Size: 8, Signed: true, Values: []btf.EnumValue{V("LEAST", 1<<63)}},
		Enum("declared"),
	}, `
enum signed___2 {
	MINUS = -1,
};

enum small {
	S = 200,
} __attribute__((mode(QI)));

enum wide {
	W = 1,
} __attribute__((mode(DI)));

enum large {
	L = 9223372036854775808ULL,
};

enum least {
	LEAST = -9223372036854775807LL - 1,
};

enum declared {
	__no_value_of_declared,
};
`, true},
	{"words of C23", []btf.Type{Enum("", V("false", 0), V("true", 1)), Typedef("bool", Bool)}, `
#if !defined(__STDC_VERSION__) || __STDC_VERSION__ < 202311L
enum {
	false = 0,
	true = 1,
};
#endif

#if !defined(__STDC_VERSION__) || __STDC_VERSION__ < 202311L
typedef _Bool bool;
#endif
`, true},
	{"the same name twice", []btf.Type{
		Struct("s", M("a", S32)), Struct("s", M("b", S64)), union("s", 4, M("c", S32)),
		Typedef("t", S32), Typedef("t", S64), Enum("e", V("t", 0)),
	}, `
struct s {
	int a;
};

struct s___2 {
	long long b;
};

union s___3 {
	int c;
};

typedef int t;

typedef long long t___2;

enum e {
	t___3 = 0,
};
`, false},
	{"names that C has not", []btf.Type{Struct("Option<u8>", M("0", U8), M("int", &btf.Int{Name: "u32", Size: 4}), at(64, M("f", &btf.Float{Name: "f128", Size: 16}))), Typedef("typeof", S32)}, `
struct Option_u8_ {
	unsigned char _;
	unsigned int int_;
	long: 64;
	struct { unsigned char bytes[16]; } f;
};

typedef int typeof___2;
`, true},
	// Which is a space to Unicode, and none to C.
	{"an integer's name with a line separator", []btf.Type{Struct("s", M("a", &btf.Int{Name: "unsigned\u2028int", Size: 4}))}, `
struct s {
	unsigned int a;
};
`, true},
	{"variable arguments", []btf.Type{Typedef("va_list", Typedef("__builtin_va_list", Array(Struct("__va_list_tag", M("p", Ptr(void))), 1)))}, `
typedef __builtin_va_list va_list;

struct __va_list_tag {
	void *p;
};
`, true},
}

func TestConstructs(t *testing.T) {
	for _, test := range constructs {
		t.Run(test.name, func(t *testing.T) {
			data := raw(t, test.types...)
			types, err := vmlinuxh.Load(data, nil)
			if err != nil {
				t.Fatal(err)
			}
			header, err := types.Header(nil)
			if err != nil {
				t.Fatal(err)
			}
			_, body, _ := strings.Cut(string(header), "#endif\n")
			body, _, _ = strings.Cut(body, "\n#ifndef BPF_NO_PRESERVE_ACCESS_INDEX")
			if body != test.want {
				t.Errorf("got %s\nwant %s", body, test.want)
			}
			if !test.other {
				checkHeader(t, data)
			}
		})
	}
}

// kfunc is a function that programs may call.
func kfunc(name string, result btf.Type, params ...btf.FuncParam) *btf.Func {
	return &btf.Func{Name: name, Linkage: btf.StaticFunc, Tags: []string{"bpf_kfunc"}, Type: &btf.FuncProto{Return: result, Params: params}}
}

func kfuncs() []btf.Type {
	task := Struct("task", M("pid", S32))
	arena := &btf.TypeTag{Value: "address_space(1)", Type: void}
	fast := kfunc("cast", Ptr(void), btf.FuncParam{Name: "obj", Type: Ptr(&btf.Const{Type: void})})
	fast.Tags = append(fast.Tags, "bpf_fastcall")
	other := kfunc("other_function", void)
	other.Tags = []string{"not_bpf_kfunc"}
	return []btf.Type{
		Typedef("u32", U32), Enum("e", V("taken", 1)),
		kfunc("acquire", Ptr(task), btf.FuncParam{Name: "t", Type: Ptr(task)}, btf.FuncParam{Name: "flags__k", Type: Typedef("flags_t", U64)}),
		kfunc("nothing", void), fast,
		kfunc("alloc", Ptr(arena), btf.FuncParam{Name: "map", Type: Ptr(void)}, btf.FuncParam{Name: "addr", Type: Ptr(arena)}),
		kfunc("callback", S32,
			btf.FuncParam{Name: "fn", Type: Ptr(function(S32, Ptr(void)))}, btf.FuncParam{Name: "register", Type: S32},
			btf.FuncParam{Name: "u32", Type: S32}, btf.FuncParam{Type: Ptr(Struct("only_here", M("a", S32)))}),
		kfunc("printed", S32, btf.FuncParam{Name: "fmt", Type: Ptr(&btf.Const{Type: Char})}, btf.FuncParam{Type: void}),
		// C cannot declare these.
		kfunc("taken", void), kfunc("while", void), kfunc("a::b", void),
		other, &btf.Func{Name: "untagged", Type: function(void)},
	}
}

const kfuncPrototypes = `
#ifndef BPF_NO_KFUNC_PROTOTYPES
#ifndef __bpf_fastcall
#if __has_attribute(bpf_fastcall)
#define __bpf_fastcall __attribute__((bpf_fastcall))
#else
#define __bpf_fastcall
#endif
#endif
extern struct task *acquire(struct task *t, flags_t flags__k) __attribute__((weak, section(".ksyms")));
extern __attribute__((address_space(1))) void *alloc(void *map, __attribute__((address_space(1))) void *addr) __attribute__((weak, section(".ksyms")));
extern int callback(int (*fn)(void *), int, int, struct only_here *) __attribute__((weak, section(".ksyms")));
extern __bpf_fastcall void *cast(const void *obj) __attribute__((weak, section(".ksyms")));
extern void nothing(void) __attribute__((weak, section(".ksyms")));
extern int printed(const char *fmt, ...) __attribute__((weak, section(".ksyms")));
#endif
`

func TestKfuncs(t *testing.T) {
	types, err := vmlinuxh.Load(raw(t, kfuncs()...), nil)
	if err != nil {
		t.Fatal(err)
	}
	header, err := types.Header(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(header), kfuncPrototypes) {
		t.Errorf("got %s\nwant %s", header, kfuncPrototypes)
	}

	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "vmlinux.h"), header, 0o666); err != nil {
		t.Fatal(err)
	}
	clang(t, []byte(`#include "vmlinux.h"
void *in_arena(void *map);
int call(void *map)
{
	void __attribute__((address_space(1))) *p = alloc(map, 0);
	struct task *t = acquire(0, 1);

	// A kernel may lack it.
	if (nothing)
		nothing();
	return t->pid + printed("%p", p) + (cast(t) == 0);
}
`), dir, "call.bpf.c")
	clang(t, []byte(`#define BPF_NO_KFUNC_PROTOTYPES
#include "vmlinux.h"
extern int acquire(void) __attribute__((section(".ksyms")));
int call(void) { return acquire(); }
`), dir, "own.bpf.c")

	// By name, with what it needs, and in BTF as in the header.
	names := []string{"acquire", "cast"}
	header, err = types.Header(names)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"struct task;", "typedef unsigned long long flags_t;", "extern struct task *acquire(", "extern __bpf_fastcall void *cast("} {
		if !strings.Contains(string(header), want) {
			t.Errorf("no %q in\n%s", want, header)
		}
	}
	if strings.Contains(string(header), "callback") {
		t.Errorf("callback in\n%s", header)
	}
	subset, err := types.Subset(names)
	if err != nil {
		t.Fatal(err)
	}
	again, err := vmlinuxh.Load(subset, nil)
	if err != nil {
		t.Fatal(err)
	}
	header2, err := again.Header(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := paragraphs(header2), paragraphs(header); !slices.Equal(got, want) {
		t.Errorf("header of the subset:\n%s\nwant\n%s", header2, header)
	}
}

// paragraphs returns what a header has, in an order that does not depend on the
// file that it was made of.
func paragraphs(header []byte) []string {
	return slices.Sorted(slices.Values(strings.Split(string(header), "\n\n")))
}

func TestSubset(t *testing.T) {
	other := Struct("other", M("deep", Struct("deep", M("a", S32))))
	wanted := Struct("wanted", M("in", Typedef("in_t", Struct("in", M("a", U64)))), M("p", Ptr(other)))
	data := raw(t, other, Struct("unused"), wanted, Enum("", V("FLAG", 1)), Typedef("__u8", U8))
	types, err := vmlinuxh.Load(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"wanted", "FLAG"}
	header, err := types.Header(names)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"struct wanted {", "struct in {", "struct other;", "FLAG = 1", "typedef unsigned char __u8;"} {
		if !strings.Contains(string(header), want) {
			t.Errorf("no %q in\n%s", want, header)
		}
	}
	for _, no := range []string{"struct other {", "deep", "unused"} {
		if strings.Contains(string(header), no) {
			t.Errorf("%q in\n%s", no, header)
		}
	}

	subset, err := types.Subset(names)
	if err != nil {
		t.Fatal(err)
	}
	checkHeader(t, subset)
	again, err := vmlinuxh.Load(subset, nil)
	if err != nil {
		t.Fatal(err)
	}
	header2, err := again.Header(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := paragraphs(header2), paragraphs(header); !slices.Equal(got, want) {
		t.Errorf("header of the subset:\n%s\nwant\n%s", header2, header)
	}
}

func TestUnknownNames(t *testing.T) {
	types, err := vmlinuxh.Load(raw(t, Struct("s")), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = types.Header([]string{"b", "s", "a", "struct s"})
	if want := `has no struct, union, enum, typedef, value of an enum or kfunc with the name "a", "b", "struct s"`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// The subset of the running kernel's BTF is small, and as good as all of it.
func TestSubsetOfRunningKernel(t *testing.T) {
	data, err := os.ReadFile(vmlinux)
	if err != nil {
		t.Skip("the running kernel has no BTF")
	}
	types, err := vmlinuxh.Load(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"task_struct", "sock", "inode", "bpf_map_type", "BPF_ANY"}
	header, err := types.Header(names)
	if err != nil {
		t.Fatal(err)
	}
	subset, err := types.Subset(names)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes of BTF", len(subset))
	if len(subset) > 100_000 {
		t.Errorf("%d bytes of BTF", len(subset))
	}
	checkHeader(t, subset)
	again, err := vmlinuxh.Load(subset, nil)
	if err != nil {
		t.Fatal(err)
	}
	header2, err := again.Header(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(paragraphs(header2), paragraphs(header)) {
		t.Error("the header of the subset is another one")
	}
}
