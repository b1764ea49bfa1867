package skelgen_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
	"github.com/rules-bpf/rules_bpf/tool/internal/skelgen"
)

var update = flag.Bool("update", false, "write the golden files")

// The files are what clang makes of the C files in testdata, name for name: read
// these first.
var golden = map[string]*File{
	"minimal":  minimalFile,
	"types":    typesFile,
	"names":    namesFile,
	"sections": sectionsFile,
	"empty":    {Programs: []Program{{Name: "pass", Section: "xdp"}}},
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

// generate returns the skeleton of an object file.
func generate(t testing.TB, pkg, name string, data []byte) []byte {
	t.Helper()
	obj, err := bpfobj.Read(name, data)
	if err != nil {
		t.Fatal(err)
	}
	src, err := skelgen.Skeleton(pkg, obj, data)
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
			path := filepath.Join("testdata", name+".go.golden")
			if *update {
				if err := os.WriteFile(path, withoutObject(src), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got := withoutObject(src); !bytes.Equal(got, want) {
				t.Errorf("differs from %s (go test -update rewrites it), got:\n%s", path, got)
			}
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
	for name := range golden {
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
			src := generate(t, name, name+".bpf.o", data)
			for _, arch := range arches {
				if err := typeCheck(src, arch); err != nil {
					t.Errorf("%s: %v", arch, err)
				}
			}
		})
	}
}
