package skelgen_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/goldens"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/imagegen"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
	"github.com/rules-bpf/rules_bpf/tool/internal/skelgen"
)

// The files are what clang makes of the C files in testdata, name for name: read
// these first.
var golden = map[string]*File{
	"minimal":    minimalFile,
	"types":      typesFile,
	"constructs": constructsFile,
	"names":      namesFile,
	"sections":   sectionsFile,
	"maps":       mapsFile,
	"kconfig":    kconfigFile,
	"structops":  structOpsFile,
	"empty":      {Programs: []Program{{Name: "pass", Section: "xdp"}}},
}

var minimalFile = &File{
	License:  "GPL",
	Programs: []Program{{Name: "handle_exec", Section: "tp/sched/sched_process_exec", Refs: []string{"execs", "last_pid", "events"}}},
	Vars: []Var{
		{Section: ".bss", Name: "execs", Type: U64},
		{Section: ".bss", Name: "last_pid", Type: S32},
		{Section: ".maps", Name: "events", Type: Map(27, 4096, nil, nil)},
	},
}

func le(values ...any) []byte {
	var b bytes.Buffer
	for _, v := range values {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

var (
	u32   = Typedef("u32", U32)
	u64   = Typedef("u64", U64)
	comm  = Typedef("comm", Array(Char, 16))
	mode  = Enum("mode", V("MODE_OFF", 0), V("MODE_ON", 1), V("MODE_AUTO", 10))
	point = Struct("point", M("x", S16), M("y", S64))
	task  = Typedef("task", Struct("", M("id", u32), M("name", comm)))

	typesFile = &File{
		Programs: []Program{{Name: "prog", Section: "xdp", Refs: []string{"letter", "now", "flag"}}},
		Vars: []Var{
			{Section: ".data", Name: "flag", Type: Volatile(Bool), Value: le(true)},
			{Section: ".data", Name: "letter", Type: Char, Value: le(byte('a'))},
			{Section: ".data", Name: "s8", Type: S8, Value: le(int8(1))},
			{Section: ".data", Name: "u8", Type: U8, Value: le(uint8(2))},
			{Section: ".data", Name: "s16", Type: S16, Value: le(int16(3))},
			{Section: ".data", Name: "u16", Type: U16, Value: le(uint16(4))},
			{Section: ".data", Name: "s32", Type: S32, Value: le(int32(5))},
			{Section: ".data", Name: "plain_u32", Type: u32, Value: le(uint32(6))},
			{Section: ".data", Name: "s64", Type: S64, Value: le(int64(7))},
			{Section: ".data", Name: "now", Type: Volatile(Typedef("nanoseconds", u64)), Value: le(uint64(8))},
			{Section: ".data", Name: "f32", Type: F32, Value: le(float32(1.5))},
			{Section: ".data", Name: "f64", Type: F64, Value: le(float64(2.5))},
			{Section: ".data", Name: "text", Type: Array(Char, 5), Value: []byte("text")},
			{Section: ".data", Name: "name", Type: comm, Value: []byte("comm")},
			{Section: ".data", Name: "lines", Type: Array(Array(Char, 8), 2), Value: []byte("a")},
			{Section: ".data", Name: "bytes", Type: Array(S8, 3), Value: []byte{1, 2, 3}},
			{Section: ".data", Name: "matrix", Type: Array(Array(Array(S32, 4), 3), 2), Value: le(int32(1))},
			{Section: ".data", Name: "mode", Type: mode, Value: le(uint32(1))},
			{Section: ".data", Name: "modes", Type: Array(mode, 3), Value: le(uint32(10))},
			{Section: ".data", Name: "small", Type: &btf.Enum{Name: "small", Size: 1, Values: []btf.EnumValue{V("SMALL_A", 1), V("SMALL_B", 200)}}, Value: le(uint8(200))},
			{Section: ".data", Name: "paint", Type: Typedef("color", Enum("", V("COLOR_RED", 0), V("COLOR_BLUE", 1))), Value: le(uint32(1))},
			{Section: ".data", Name: "level", Type: &btf.Enum{Size: 4, Signed: true, Values: []btf.EnumValue{V("LEVEL_LOW", 1<<64-1), V("LEVEL_HIGH", 1)}}, Value: le(int32(1))},
			{Section: ".data", Name: "origin", Type: point, Value: le(int16(1))},
			{Section: ".data", Name: "pairs", Type: Array(Struct("pair", M("a", point), M("b", point)), 2)},
			{Section: ".data", Name: "init_task", Type: task, Value: le(uint32(1))},
			{Section: ".data", Name: "nested", Type: Struct("outer",
				M("inner", Struct("", M("tag", Char), M("value", u64))),
				M("choice", Enum("", V("INNER_NO", 0), V("INNER_YES", 1))),
				M("tasks", Array(task, 2)),
			)},
			{Section: ".data", Name: "anonymous", Type: Struct("", M("a", S32), M("b", Array(u64, 2)))},
			{Section: ".data", Name: "lined_up", Align: 32, Type: &btf.Struct{Name: "aligned", Size: 32, Members: []btf.Member{M("c", Char)}}},
		},
	}

	id    = Typedef("id_t", U32)
	node  = Struct("node", M("next", Ptr(U8)), M("visit", Ptr(&btf.FuncProto{Return: S32})), M("id", id))
	level = &btf.Enum{Name: "level", Size: 4, Signed: true, Values: []btf.EnumValue{V("LEVEL_LOW", 1<<64-2), V("LEVEL_HIGH", 1)}}

	constructsFile = &File{
		Programs: []Program{{Name: "prog", Section: "xdp", Refs: []string{"id"}}},
		Vars: []Var{
			{Section: ".data", Name: "id", Type: id, Value: le(uint32(1))},
			{Section: ".data", Name: "pointer", Type: Ptr((*btf.Void)(nil)), Value: le(uint64(1))},
			{Section: ".data", Name: "node", Type: node, Value: le(uint64(1))},
			{Section: ".data", Name: "value", Value: le(uint64(1)), Type: Union("value",
				M("byte", Char), M("number", S64), M("pair", Struct("", M("low", S16), M("high", S16))))},
			{Section: ".data", Name: "endpoint", Value: le(uint8(1)), Type: Struct("endpoint",
				M("version", Char),
				M("", Union("", M("v4", U32), M("", Struct("", M("prefix", U64), M("host", U64))))),
				M("", Struct("", M("port", U16))),
			)},
			{Section: ".data", Name: "bits", Value: le(int32(1)), Type: &btf.Struct{Name: "bits", Size: 12, Members: []btf.Member{
				M("before", S32),
				{Name: "one", Type: U32, Offset: 32, BitfieldSize: 1},
				{Name: "number", Type: S32, Offset: 33, BitfieldSize: 9},
				{Name: "level", Type: level, Offset: 42, BitfieldSize: 3},
				{Name: "on", Type: Bool, Offset: 45, BitfieldSize: 1},
				{Name: "after", Type: S32, Offset: 64},
			}}},
			{Section: ".data", Name: "wires", Align: 1, Value: le(uint8(1)), Type: Array(&btf.Struct{Name: "wire", Size: 5, Members: []btf.Member{
				M("kind", Char), {Name: "length", Type: U32, Offset: 8},
			}}, 2)},
			{Section: ".data", Name: "list", Type: Struct("list", M("len", S32), M("items", Array(U32, 0))), Value: le(int32(1))},
			{Section: ".data", Name: "guarded", Type: Struct("guarded",
				M("lock", Struct("bpf_spin_lock", M("val", U32))), M("nothing", Struct("")), M("id", id)), Value: le(uint32(0), uint32(1))},
			{Section: ".data", Name: "wide", Align: 16, Type: S128, Value: le(uint64(1))},
		},
	}

	apiMaps = Enum("maps", V("OPEN", 0), V("SKELETON", 1), V("DATA_COUNTERS", 2))

	namesFile = &File{
		Programs: []Program{
			{Name: "load", Section: "xdp", Refs: []string{"zero", "bss", "Load"}},
			{Name: "Load_", Section: "xdp", Refs: []string{"foo_bar"}},
			{Name: "close", Section: `?fentry/"quoted"`},
		},
		Vars: []Var{
			{Section: ".data", Name: "data", Type: Struct("data", M("type", S32), M("Type", S32), M("_type", S32))},
			{Section: ".data", Name: "foo_bar", Type: S32},
			{Section: ".data", Name: "fooBar", Type: S32},
			{Section: ".data", Name: "FOO_BAR", Type: S32},
			{Section: ".data", Name: "__hidden_not", Type: S32},
			{Section: ".data", Name: "_", Type: S32},
			{Section: ".data", Name: "_2nd", Type: S32},
			{Section: ".data", Name: "größe", Type: S32},
			{Section: ".data", Name: "string", Type: S32},
			{Section: ".data", Name: "nil", Type: S32},
			{Section: ".data", Name: "init", Type: S32},
			{Section: ".data", Name: "main", Type: S32},
			{Section: ".bss", Name: "range", Type: Struct("skeleton", M("func", apiMaps))},
			{Section: ".bss", Name: "zero", Type: S32},
			{Section: ".data.counters", Name: "counters", Type: S32},
			{Section: ".data.Counters", Name: "more", Type: S32},
			{Section: ".maps", Name: "bss", Type: Map(2, 1, S32, S32)},
			{Section: ".maps", Name: "Load", Type: Map(2, 1, S32, S32)},
		},
	}

	sectionsFile = &File{
		Programs: []Program{{Name: "prog", Section: "xdp", Refs: []string{"only_static", "hidden", "limit"}}},
		Vars: []Var{
			{Section: ".rodata", Name: "limit", Type: Const(Volatile(S32)), Value: le(int32(1))},
			{Section: ".rodata.more", Name: "odd_one", Type: Const(Volatile(S32)), Value: le(int32(2))},
			{Section: ".data", Name: "written", Type: S32, Value: le(int32(3))},
			{Section: ".data.counters", Name: "counters", Type: S32, Value: le(int32(4))},
			{Section: ".data.counters", Name: "counters_of", Type: Array(U64, 2), Value: le(uint64(5), uint64(6))},
			{Section: ".data.static", Name: "only_static", Type: Volatile(S32), Static: true},
			{Section: ".data.hidden", Name: "hidden", Type: S32, Visibility: elf.STV_HIDDEN},
			{Section: ".data.mixed", Name: "shown", Type: S32, Value: le(int32(7))},
			{Section: ".data.mixed", Name: "not_shown", Type: S32, Visibility: elf.STV_HIDDEN},
			{Section: ".data.mixed", Name: "weak", Type: S32, Weak: true},
			{Section: ".bss.cleared", Name: "cleared", Type: S32},
			{Section: ".bss", Name: "first", Type: U64},
			{Section: ".bss", Name: "last", Type: U32},
		},
	}
)

// number and mapDecl are what the macros __uint and the braces around them are.
func number(name string, n uint32) btf.Member   { return M(name, Ptr(Array(S32, n))) }
func mapDecl(members ...btf.Member) *btf.Struct { return Struct("", members...) }

var (
	mapKey   = Struct("key", M("cpu", u32), M("pid", u32))
	stats    = Struct("stats", M("packets", u64), M("bytes", u64))
	event    = Struct("event", M("when", u64), M("comm", Array(Char, 16)))
	innerMap = Struct("inner", number("type", 2), number("max_entries", 1), M("key", Ptr(u32)), M("value", Ptr(stats)))
	// Arrays have no keys but of 4 bytes.
	innerScratch = Struct("inner_scratch", number("type", 2), number("max_entries", 1), number("key_size", 4), M("value", Ptr(event)))

	mapsFile = &File{
		Programs: []Program{{Name: "prog", Section: "xdp"}},
		Vars: []Var{
			{Section: ".bss", Name: "unused", Type: Ptr(Const(event)), Visibility: elf.STV_HIDDEN},
			{Section: ".maps", Name: "by_key", Type: Map(1, 16, mapKey, stats)},
			{Section: ".maps", Name: "anonymous", Type: Map(2, 16, u32, Struct("", M("sum", u64), M("count", u64)))},
			{Section: ".maps", Name: "per_cpu", Type: Map(6, 1, u32, u64)},
			{Section: ".maps", Name: "queue", Type: Map(22, 16, nil, stats)},
			{Section: ".maps", Name: "events", Type: Map(27, 4096, nil, nil)},
			{Section: ".maps", Name: "perf", Type: mapDecl(number("type", 4), number("key_size", 4), number("value_size", 4))},
			{Section: ".maps", Name: "tail_calls", Type: mapDecl(number("type", 3), number("max_entries", 2), number("key_size", 4), number("value_size", 4))},
			{Section: ".maps", Name: "sizes", Type: mapDecl(number("type", 1), number("max_entries", 2), number("key_size", 4), number("value_size", 8))},
			{Section: ".maps", Name: "stacks", Type: mapDecl(number("type", 7), number("max_entries", 2), number("key_size", 4), number("value_size", 80))},
			{Section: ".maps", Name: "of_maps", Type: mapDecl(number("type", 13), number("max_entries", 4), M("key", Ptr(mapKey)), M("values", Array(Ptr(innerMap), 0)))},
			{Section: ".maps", Name: "of_any", Type: Map(12, 4, u32, u32)},
			{Section: ".maps", Name: "of_tasks", Type: mapDecl(number("type", 29), number("map_flags", 1), M("key", Ptr(S32)), M("value", Ptr(stats)))},
			{Section: ".maps", Name: "bloom", Type: Map(30, 64, nil, mapKey)},
			{Section: ".maps", Name: "from_user", Type: Map(31, 4096, nil, nil)},
			{Section: ".maps", Name: "scratch", Type: mapDecl(number("type", 6), number("max_entries", 1), number("key_size", 4), M("value", Ptr(event)))},
			{Section: ".maps", Name: "ports", Type: mapDecl(number("type", 14), number("max_entries", 16), number("key_size", 4), number("value_size", 4))},
			{Section: ".maps", Name: "hashed_ports", Type: Map(25, 16, u32, u64)},
			{Section: ".maps", Name: "cpus", Type: mapDecl(number("type", 16), number("max_entries", 16), number("key_size", 4), number("value_size", 8))},
			{Section: ".maps", Name: "xsks", Type: mapDecl(number("type", 17), number("max_entries", 16), number("key_size", 4), number("value_size", 4))},
			{Section: ".maps", Name: "socks", Type: mapDecl(number("type", 15), number("max_entries", 16), number("key_size", 4), number("value_size", 8))},
			{Section: ".maps", Name: "hashed_socks", Type: mapDecl(number("type", 18), number("max_entries", 16), M("key", Ptr(mapKey)), number("value_size", 8))},
			{Section: ".maps", Name: "listeners", Type: mapDecl(number("type", 20), number("max_entries", 16), number("key_size", 4), number("value_size", 8))},
			{Section: ".maps", Name: "cgroups", Type: mapDecl(number("type", 8), number("max_entries", 16), number("key_size", 4), number("value_size", 4))},
			{Section: ".maps", Name: "of_scratch", Type: mapDecl(number("type", 12), number("max_entries", 4), number("key_size", 4), M("values", Array(Ptr(innerScratch), 0)))},
			{Section: ".maps", Name: "future", Type: Map(99, 4, u32, u32)},
		},
	}
)

var tristate = Enum("libbpf_tristate", V("TRI_NO", 0), V("TRI_YES", 1), V("TRI_MODULE", 2))

var kconfigFile = &File{
	Programs: []Program{{Name: "prog", Section: "xdp", Refs: []string{
		"LINUX_KERNEL_VERSION", "CONFIG_HZ", "CONFIG_BPF", "CONFIG_NET", "CONFIG_LETTER", "CONFIG_LOCALVERSION", "CONFIG_ABSENT", "CONFIG_BASE_SMALL",
	}}},
	Vars: []Var{
		{Section: ".kconfig", Extern: true, Name: "LINUX_KERNEL_VERSION", Type: U32},
		{Section: ".kconfig", Extern: true, Name: "CONFIG_HZ", Type: Typedef("u64", U64)},
		{Section: ".kconfig", Extern: true, Name: "CONFIG_BPF", Type: Bool},
		{Section: ".kconfig", Extern: true, Name: "CONFIG_NET", Type: tristate, Weak: true},
		{Section: ".kconfig", Extern: true, Name: "CONFIG_LETTER", Type: Char, Weak: true},
		{Section: ".kconfig", Extern: true, Name: "CONFIG_LOCALVERSION", Type: Array(Char, 20)},
		{Section: ".kconfig", Extern: true, Name: "CONFIG_ABSENT", Type: S32, Weak: true},
		{Section: ".kconfig", Extern: true, Name: "CONFIG_BASE_SMALL", Type: S16},
	},
}

func TestKconfigTypes(t *testing.T) {
	file := &File{Programs: []Program{{Name: "prog", Section: "xdp"}}}
	loop := &btf.Array{Index: U32, Nelems: 1}
	loop.Type = loop
	wrong := map[string]btf.Type{
		"CONFIG_LOOP":   loop,
		"CONFIG_WIDE":   S128,
		"CONFIG_ENUM":   Enum("other", V("OTHER", 0)),
		"CONFIG_STRUCT": Struct("pair", M("a", S32)),
		"CONFIG_INTS":   Array(S32, 4),
		"CONFIG_FLOAT":  F64,
	}
	for _, name := range slices.Sorted(maps.Keys(wrong)) {
		v := Var{Section: ".kconfig", Extern: true, Name: name, Type: wrong[name]}
		if v.Type == loop {
			// C has no size and no alignment for it.
			v.BTFSize, v.Align = 4, 1
		}
		file.Vars = append(file.Vars, v)
	}
	data := file.Build()
	_, err := bpfobj.Read("kconfig.bpf.o", data)
	for name := range wrong {
		want := name + ": is not of a type that a Kconfig option can have: declare it as bool, enum libbpf_tristate"
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in the error %v", want, err)
		}
	}
}

// A map whose types have no Go form is reachable as bytes, and the other maps are
// typed; what was declared on the way is gone.
func TestMapWithoutGoForm(t *testing.T) {
	broken := Struct("broken", M("stats", Struct("only_here", M("a", u32))), M("odd", &btf.Int{Name: "odd", Size: 3}))
	file := &File{
		Programs: []Program{{Name: "prog", Section: "xdp"}},
		Vars: []Var{
			{Section: ".maps", Name: "refused", Type: Map(1, 16, u32, broken)},
			{Section: ".maps", Name: "typed", Type: Map(1, 16, u32, u64)},
		},
	}
	src := string(generate(t, "maps", "maps.bpf.o", file.Build()))
	for _, want := range []string{
		"// refused, BPF_MAP_TYPE_HASH, untyped: value: .odd: odd: ",
		"*skeleton.Map[uint32, uint64] // typed, BPF_MAP_TYPE_HASH\n",
	} {
		if !strings.Contains(src, want) {
			t.Errorf("%q is not in\n%s", want, withoutObject([]byte(src)))
		}
	}
	if strings.Contains(src, "OnlyHere") || strings.Contains(src, "type Broken") {
		t.Errorf("declares a type that nothing uses:\n%s", withoutObject([]byte(src)))
	}
	if err := typeCheck([]byte(src), "amd64"); err != nil {
		t.Error(err)
	}
}

// The declaration of a ring buffer or a perf event array may say what records are.
func TestRecords(t *testing.T) {
	odd := &btf.Int{Name: "odd", Size: 3}
	file := &File{
		Programs: []Program{{Name: "prog", Section: "xdp"}},
		Vars: []Var{
			{Section: ".maps", Name: "events", Type: Map(27, 4096, nil, Struct("event", M("pid", u32)))},
			{Section: ".maps", Name: "lost", Type: Map(4, 0, u32, Struct("loss", M("count", u64)))},
			{Section: ".maps", Name: "words", Type: Map(27, 4096, nil, u64)},
			{Section: ".maps", Name: "strange", Type: Map(27, 4096, nil, Struct("strange", M("odd", odd)))},
		},
	}
	src := string(generate(t, "maps", "maps.bpf.o", file.Build()))
	for _, want := range []string{
		"// events, BPF_MAP_TYPE_RINGBUF, records of type Event\n",
		"// lost, BPF_MAP_TYPE_PERF_EVENT_ARRAY, records of type Loss\n",
		"// words, BPF_MAP_TYPE_RINGBUF\n",
		"// strange, BPF_MAP_TYPE_RINGBUF, records without a Go type: ",
		"\ntype Event struct {",
		"\ntype Loss struct {",
	} {
		if !strings.Contains(src, want) {
			t.Errorf("%q is not in\n%s", want, withoutObject([]byte(src)))
		}
	}
	if err := typeCheck([]byte(src), "amd64"); err != nil {
		t.Error(err)
	}
}

// What the runtime could not open is not generated.
func TestMapThatNoLoaderReads(t *testing.T) {
	number := number("type", 1)
	for name, typ := range map[string]btf.Type{
		"no_struct: is not a struct of __uint, __type and __array members":                       S32,
		"number: member type of the declaration is not a number: declare it with __uint":         mapDecl(M("type", S32)),
		"later: member values of the declaration is not the last one: move it to the end":        mapDecl(number, M("values", Array(Ptr(innerMap), 0)), M("key", Ptr(U32))),
		"field: member colour of the declaration is not one that loaders know: correct the name": mapDecl(number, M("colour", Ptr(U32))),
	} {
		c, _, _ := strings.Cut(name, ":")
		file := &File{Programs: []Program{{Name: "prog", Section: "xdp"}}, Vars: []Var{{Section: ".maps", Name: c, Type: typ}}}
		data := file.Build()
		if _, err := bpfobj.Read("maps.bpf.o", data); err != nil {
			t.Fatal(err)
		}
		if _, err := imagegen.Build("maps.bpf.o", data); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %s", err, name)
		}
	}
}

func TestTypes(t *testing.T) {
	data := mapsFile.Build()
	obj, err := bpfobj.Read("maps.bpf.o", data)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := imagegen.Build("x.bpf.o", data)
	if err != nil {
		t.Fatal(err)
	}
	src, err := skelgen.Skeleton(obj, loaded, skelgen.Options{Package: "maps", Types: []string{"event", "struct stats", "struct  event"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := typeCheck(src, "amd64"); err != nil {
		t.Error(err)
	}
	if n := strings.Count(string(src), "type Event struct"); n != 1 {
		t.Errorf("Event is declared %d times", n)
	}
	if n := strings.Count(string(src), "type Stats struct"); n != 1 {
		t.Errorf("Stats is declared %d times", n)
	}
	_, err = skelgen.Skeleton(obj, loaded, skelgen.Options{Package: "maps", Types: []string{"evnet", "u32", "union event", "union evnet", "typedef evnet", "typedef u32", "struct event {"}})
	for _, want := range []string{
		"type evnet: is not in the object's BTF, which has a type only if a map, a global variable or a function uses it: declare \"struct evnet *unused __hidden;\", or correct the name",
		"type u32: is uint32 in Go, which needs no declaration: leave it out",
		"type \"union event\": is not in the object's BTF, which has struct event: correct the name",
		"type \"union evnet\": is not in the object's BTF, which has a type only if a map, a global variable or a function uses it: declare \"union evnet *unused __hidden;\", or correct the name",
		"type \"typedef evnet\": is not in the object's BTF, which has a type only if a map, a global variable or a function uses it: declare \"evnet *unused __hidden;\", or correct the name",
		`type "typedef u32": is uint32 in Go`,
		`type "struct event {": is not in the object's BTF`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in the error %v", want, err)
		}
	}
}

// A name as C spells it says which of several types of one name is meant.
func TestTypesByKeyword(t *testing.T) {
	file := &File{
		Programs: []Program{{Name: "prog", Section: "xdp"}},
		Types:    []btf.Type{Typedef("id", Array(U64, 4)), Struct("id", M("number", U32)), Union("shared", M("a", U32)), Enum("mode", V("MODE_ON", 1))},
	}
	data := file.Build()
	obj, err := bpfobj.Read("x.bpf.o", data)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"id": "type Id struct", "struct id": "type Id struct", "union shared": "type Shared struct", "enum mode": "type Mode uint32",
		"typedef id": "", "struct shared": "",
	} {
		loaded, err := imagegen.Build("x.bpf.o", data)
		if err != nil {
			t.Fatal(err)
		}
		src, err := skelgen.Skeleton(obj, loaded, skelgen.Options{Package: "x", Types: []string{name}})
		switch {
		case want == "" && err == nil:
			t.Errorf("%s: no error", name)
		case want != "" && (err != nil || !strings.Contains(string(src), want)):
			t.Errorf("%s: %q is not in the source: %v", name, want, err)
		}
	}
}

func init() { node.Members[0].Type = Ptr(node) }

// generate returns the skeleton of an object file.
func generate(t testing.TB, pkg, name string, data []byte) []byte {
	t.Helper()
	obj, err := bpfobj.Read(name, data)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := imagegen.Build(name, data)
	if err != nil {
		t.Fatal(err)
	}
	src, err := skelgen.Skeleton(obj, loaded, skelgen.Options{Package: pkg})
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// withoutObject cuts off the object, which is not for people to read.
func withoutObject(src []byte) []byte {
	return src[:bytes.LastIndex(src, []byte("\n// object is "))]
}

func TestGolden(t *testing.T) {
	for name, file := range golden {
		t.Run(name, func(t *testing.T) {
			src := generate(t, name, name+".bpf.o", file.Build())
			goldens.Check(t, filepath.Join("testdata", name+".go.golden"), withoutObject(src))
		})
	}
}

// A golden file must be what users get: what clang makes of the C file, laid out
// by the same rules. Clang's version decides the order of things, so this does
// not compare with the golden file.
func TestClang(t *testing.T) {
	clang, err := exec.LookPath("clang")
	if err != nil {
		t.Skip("needs clang on PATH")
	}
	names := slices.AppendSeq(slices.Collect(maps.Keys(golden)), maps.Keys(goldenSub))
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			object := filepath.Join(t.TempDir(), name+".bpf.o")
			cmd := exec.Command(clang, "-g", "-O2", "-mcpu=v3", "-target", "bpfel", "-w", "-c", filepath.Join("testdata", name+".bpf.c"), "-o", object)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			data, err := os.ReadFile(object)
			if err != nil {
				t.Fatal(err)
			}
			makeSource := generate
			if goldenSub[name] != nil {
				makeSource = generateSub
			}
			src := makeSource(t, name, name+".bpf.o", data)
			for _, arch := range arches {
				if err := typeCheck(src, arch); err != nil {
					t.Errorf("%s: %v", arch, err)
				}
			}
		})
	}
}
