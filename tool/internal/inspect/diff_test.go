package inspect_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/goldens"
	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/tool/internal/imagegen"
	"github.com/rules-bpf/rules_bpf/tool/internal/inspect"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

// What changes between the two: a bit of everything.
var (
	before = &File{
		License: "GPL",
		Programs: []Program{
			{Name: "kept", Section: "xdp", Refs: []string{"counts", "limit"}},
			{Name: "moved", Section: "tc", Refs: []string{"last"}},
			{Name: "gone", Section: "fentry/do_sys_openat2", Refs: []string{"mode"}},
		},
		Vars: []Var{
			{Section: ".maps", Name: "counts", Type: Map(1, 1024, U32, Struct("event", M("pid", U32), M("old", U32), M("when", U64)))},
			{Section: ".maps", Name: "sizes", Type: Map(1, 10, U32, U64)},
			{Section: ".maps", Name: "dropped", Type: Map(1, 10, U32, U32)},
			{Section: ".rodata", Name: "limit", Type: Const(Volatile(U64)), Value: []byte{100, 0, 0, 0, 0, 0, 0, 0}},
			{Section: ".bss", Name: "last", Type: U32},
			{Section: ".bss", Name: "hidden", Type: U32, Static: true},
			{Section: ".data", Name: "mode", Type: Enum("mode", V("MODE_OFF", 0), V("MODE_ON", 1)), Value: []byte{1, 0, 0, 0}},
			{Section: ".kconfig", Name: "CONFIG_HZ", Type: S32, Extern: true},
		},
	}
	after = &File{
		License: "Dual BSD/GPL",
		Programs: []Program{
			{Name: "kept", Section: "xdp", Refs: []string{"counts", "limit"}},
			{Name: "moved", Section: "tcx/ingress", Refs: []string{"last"}},
			{Name: "fresh", Section: "?tp/sched/sched_process_exec", Refs: []string{"mode", "events"}},
		},
		Vars: []Var{
			{Section: ".maps", Name: "counts", Type: Map(1, 2048, U32, Struct("event", M("pid", S32), M("when", U64), M("more", U64)))},
			{Section: ".maps", Name: "sizes", Type: Map(2, 10, U32, U32)},
			{Section: ".maps", Name: "events", Type: Map(27, 4096, nil, nil)},
			{Section: ".rodata", Name: "limit", Type: Const(Volatile(U64)), Value: []byte{200, 0, 0, 0, 0, 0, 0, 0}},
			{Section: ".data", Name: "last", Type: U32, Value: []byte{1, 0, 0, 0}},
			{Section: ".data", Name: "mode", Type: Enum("mode", V("MODE_ON", 0), V("MODE_MORE", 1)), Value: []byte{1, 0, 0, 0}},
		},
	}
)

func report(t *testing.T, file *File) *inspect.Report {
	t.Helper()
	r, err := inspect.Read("x.bpf.o", file.Build())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCompare(t *testing.T) {
	diff := inspect.Compare(report(t, before), report(t, after))
	goldens.Check(t, filepath.Join("testdata", "diff.txt"), diff.Text())
	data, err := diff.JSON()
	if err != nil {
		t.Fatal(err)
	}
	goldens.Check(t, filepath.Join("testdata", "diff.json"), data)
	var again inspect.Diff
	if err := json.Unmarshal(data, &again); err != nil || !reflect.DeepEqual(&again, diff) {
		t.Errorf("JSON: %v, %v", again, err)
	}
}

// An object is not different from itself, nor is one that differs in nothing that users
// see: where a variable lies, the name of a typedef, a static variable.
func TestCompareSame(t *testing.T) {
	first := &File{
		Programs: []Program{{Name: "p", Section: "xdp", Refs: []string{"a", "b", "s"}}},
		Vars: []Var{
			{Section: ".bss", Name: "a", Type: U32},
			{Section: ".bss", Name: "b", Type: Typedef("first_t", U64)},
			{Section: ".bss", Name: "s", Type: U64, Static: true},
		},
	}
	second := &File{
		Programs: []Program{{Name: "p", Section: "xdp", Refs: []string{"a", "b", "s"}}},
		Vars: []Var{
			{Section: ".bss", Name: "s", Type: U32, Static: true},
			{Section: ".bss", Name: "b", Type: Typedef("second_t", U64)},
			{Section: ".bss", Name: "a", Type: Typedef("third_t", U32)},
		},
	}
	for _, tt := range [][2]*File{{before, before}, {after, after}, {first, second}} {
		diff := inspect.Compare(report(t, tt[0]), report(t, tt[1]))
		if text := diff.Text(); len(diff.Changes) > 0 || len(text) > 0 {
			t.Errorf("changes: %s", text)
		}
	}
}

// What keeps its name and is something else, or has no name, is a change.
func TestCompareTypes(t *testing.T) {
	// The map m of the value, the variable v and a static variable have the type.
	value := func(value btf.Type) *File {
		return &File{
			Programs: []Program{{Name: "p", Section: "xdp", Refs: []string{"m", "v", "s"}}},
			Vars: []Var{
				{Section: ".maps", Name: "m", Type: Map(1, 1, U32, value)},
				{Section: ".bss", Name: "v", Type: value},
				{Section: ".bss", Name: "s", Type: value, Static: true},
			},
		}
	}
	// A struct with the type has a name.
	member := func(members ...btf.Member) *File {
		return &File{
			Programs: []Program{{Name: "p", Section: "xdp", Refs: []string{"v"}}},
			Vars:     []Var{{Section: ".bss", Name: "v", Type: Struct("s", members...)}},
		}
	}
	key := func(key btf.Type) *File {
		return &File{
			Programs: []Program{{Name: "p", Section: "xdp", Refs: []string{"m"}}},
			Vars:     []Var{{Section: ".maps", Name: "m", Type: Map(1, 1, key, U32)}},
		}
	}
	bits := func(first, second btf.Bits) *File {
		s := Struct("s", M("a", U32), M("b", U32))
		s.Members[0].BitfieldSize, s.Members[1].BitfieldSize = first, second
		s.Members[1].Offset = first
		return member(M("in", s))
	}
	// The kernel has a struct_ops table with the members, whose places are the kernel's.
	table := func(members ...btf.Member) *File {
		return &File{
			Programs: []Program{{Name: "p", Section: "xdp"}},
			Vars:     []Var{{Section: ".struct_ops", Name: "ops", Type: Struct("my_ops", members...)}},
		}
	}
	signed := func(e *btf.Enum) *btf.Enum { e.Signed = true; return e }
	shared := Struct("", M("a", U32))
	// Two variables have types that the compiler describes once, as they are alike.
	two := func(first, second btf.Type) *File {
		return &File{
			Programs: []Program{{Name: "p", Section: "xdp", Refs: []string{"v", "w"}}},
			Vars:     []Var{{Section: ".bss", Name: "v", Type: first}, {Section: ".bss", Name: "w", Type: second}},
		}
	}
	for _, tt := range []struct {
		name     string
		old, new *File
		want     []string
	}{
		{"typedef of a value", value(Typedef("my_id", U32)), value(Typedef("my_id", S32)), []string{
			"code changed map m, value: uint32, int32",
			"code changed variable v, type: uint32, int32",
		}},
		{"typedef of a longer value", value(Typedef("my_id", U32)), value(Typedef("my_id", U64)), []string{
			"code changed map m, value: uint32, uint64",
			"data changed map m, value size: 4, 8",
			"code changed variable v, type: uint32, uint64",
		}},
		{"typedef of a key", key(Typedef("my_id", U32)), key(Typedef("my_id", S32)), []string{
			"code changed map m, key: uint32, int32",
		}},
		{"key without a name", key(Struct("", M("a", U32))), key(Struct("", M("a", U32), M("b", U32))), []string{
			"data changed map m, key size: 4, 8",
			"data changed type struct (key of m), size: 4, 8",
			"- added member struct (key of m): b: , unsigned int",
		}},
		{"typedef of a member", member(M("a", Typedef("my_id", U32))), member(M("a", Typedef("my_id", S32))), []string{
			"code changed member struct s: a, type: uint32, int32",
		}},
		{"typedef of a struct", value(Typedef("pair", Struct("", M("a", U32)))), value(Typedef("pair", Struct("", M("a", S32)))), []string{
			"code changed member pair: a, type: unsigned int, int",
		}},
		{"typedef that was of an integer", value(Typedef("pair", U64)), value(Typedef("pair", Struct("pair", M("a", U64)))), []string{
			"code changed map m, value: uint64, struct pair",
			"code changed variable v, type: uint64, struct pair",
			"- added type struct pair: , 8 bytes",
		}},
		{"struct without a name", value(Struct("", M("a", U32))), value(Struct("", M("a", U64))), []string{
			"data changed map m, value size: 4, 8",
			"data changed type struct (value of m), size: 4, 8",
			"code changed member struct (value of m): a, type: unsigned int, unsigned long long",
			"data changed type struct (variable v), size: 4, 8",
			"code changed member struct (variable v): a, type: unsigned int, unsigned long long",
		}},
		{"struct without a name, of the same size", value(Struct("", M("a", U32), M("b", U32))), value(Struct("", M("b", U32), M("a", U32))), []string{
			"data changed member struct (value of m): a, offset: 0, 4",
			"data changed member struct (value of m): b, offset: 4, 0",
			"data changed member struct (variable v): a, offset: 0, 4",
			"data changed member struct (variable v): b, offset: 4, 0",
		}},
		{"structs that are alike no more", two(shared, shared), two(Struct("", M("a", U32)), Struct("", M("a", S32))), []string{
			"code changed member struct (variable w): a, type: unsigned int, int",
		}},
		{"typedefs of structs that are alike no more", two(Typedef("first", shared), Typedef("second", shared)), two(Typedef("first", Struct("", M("a", U32))), Typedef("second", Struct("", M("a", S32)))), []string{
			"code changed member second: a, type: unsigned int, int",
		}},
		{"rows without a name", member(M("rows", Array(Struct("", M("a", U32)), 2))), member(M("rows", Array(Struct("", M("a", S32)), 2))), []string{
			"code changed member struct (rows of struct s): a, type: unsigned int, int",
		}},
		{"rows in a member without a name", member(M("in", Struct("", M("rows", Array(Union("", M("a", U32)), 2))))), member(M("in", Struct("", M("rows", Array(Union("", M("a", S32)), 2))))), []string{
			"code changed member union (in.rows of struct s): a, type: unsigned int, int",
		}},
		{"member without a name", member(M("", Union("", M("a", U32), M("b", U16)))), member(M("", Union("", M("a", U32), M("b", S16)))), []string{
			"code changed member struct s: b, type: unsigned short, short",
		}},
		{"member without a name of a struct with one", member(M("", Struct("base", M("a", U32))), M("b", U32)), member(M("b", U32), M("", Struct("base", M("a", U32)))), []string{
			"data changed member struct s: a, offset: 0, 4",
			"data changed member struct s: b, offset: 4, 0",
		}},
		{"constants", member(M("a", Enum("mode", V("OFF", 0), V("ON", 1)))), member(M("a", Enum("mode", V("OFF", 1), V("ON", 0)))), []string{
			"data changed constant enum mode: OFF, value: 0, 1",
			"data changed constant enum mode: ON, value: 1, 0",
		}},
		{"constants of enums without names", member(M("a", Enum("", V("OFF", 0))), M("b", Enum("", V("RED", 0)))), member(M("a", Enum("", V("OFF", 0))), M("b", Enum("", V("RED", 1)))), []string{
			"data changed constant enum (b of struct s): RED, value: 0, 1",
		}},
		{"sign of an enum", member(M("a", Enum("mode", V("OFF", 0)))), member(M("a", signed(Enum("mode", V("OFF", 0))))), []string{
			"code changed type enum mode, signed: no, yes",
		}},
		{"dimension", value(Typedef("row", Array(U32, 2))), value(Typedef("row", Array(U32, 3))), []string{
			"code changed map m, value: [2]uint32, [3]uint32",
			"data changed map m, value size: 8, 12",
			"code changed variable v, type: [2]uint32, [3]uint32",
		}},
		{"dimension of a member", member(M("a", Array(Array(U8, 2), 6))), member(M("a", Array(Array(U8, 3), 4))), []string{
			"code changed member struct s: a, type: unsigned char[2][6], unsigned char[3][4]",
		}},
		{"bit-fields", bits(3, 5), bits(4, 5), []string{
			"data changed member struct s: a, offset: bit 0, 3 wide, bit 0, 4 wide",
			"data changed member struct s: b, offset: bit 3, 5 wide, bit 4, 5 wide",
		}},
		{"members of a table", table(M("name", Array(U8, 16)), M("flags", U32), M("old", U32)), table(M("more", U64), M("name", Array(U8, 16)), M("flags", U64)), []string{
			"code changed member struct my_ops: flags, type: unsigned int, unsigned long long",
			"code removed member struct my_ops: old: unsigned int, ",
			"- added member struct my_ops: more: , unsigned long long",
		}},
		{"pointer", member(M("a", Ptr(Typedef("t", U32)))), member(M("a", Ptr(Typedef("t", U64)))), []string{
			"code changed member struct s: a, type: pointer to uint32, pointer to uint64",
		}},
		// In Go, a pointer is an address, and what it leads to is not there.
		{"what a pointer leads to", member(M("a", Ptr(Struct("far", M("a", U32))))), member(M("a", Ptr(Struct("far", M("a", U64))))), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, c := range inspect.Compare(report(t, tt.old), report(t, tt.new)).Changes {
				what := c.What + " " + c.Name
				if c.Of != "" {
					what += ", " + c.Of
				}
				concern := string(c.Concern)
				if c.Concern == inspect.Nobody {
					concern = "-"
				}
				got = append(got, fmt.Sprintf("%s %s %s: %s, %s", concern, c.Change, what, c.Old, c.New))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			if same := inspect.Compare(report(t, tt.new), report(t, tt.new)).Text(); len(same) > 0 {
				t.Errorf("differs from itself: %s", same)
			}
		})
	}
}

// Global functions are what C code of others calls or replaces. Objtest gives functions no
// types, and so the image gets them.
func TestCompareFunctions(t *testing.T) {
	read := func(result btf.Type, params ...btf.FuncParam) *inspect.Report {
		t.Helper()
		file := &File{Programs: []Program{{Name: "p", Section: "xdp"}, {Name: "helper", Section: ".text"}, {Name: "own", Section: ".text", Static: true}}}
		img, err := imagegen.Build("x.bpf.o", file.Build())
		if err != nil {
			t.Fatal(err)
		}
		types, err := btf.NewBuilder(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		id, err := types.Add(&btf.Func{Name: "helper", Type: &btf.FuncProto{Return: result, Params: params}, Linkage: btf.GlobalFunc})
		if err != nil {
			t.Fatal(err)
		}
		if img.BTF, err = types.Marshal(nil, nil); err != nil {
			t.Fatal(err)
		}
		for i := range img.Functions {
			img.Functions[i].Type = uint32(id)
		}
		data, err := image.Encode(img.Object, binary.NativeEndian)
		if err != nil {
			t.Fatal(err)
		}
		r, err := inspect.Read("x.bpf.o", data)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	id := func(t btf.Type) btf.FuncParam { return btf.FuncParam{Name: "id", Type: Typedef("my_id", t)} }
	old := read(S32, id(U32))
	for _, tt := range []struct {
		name string
		new  *inspect.Report
		want []inspect.Change
	}{
		{"same", read(Typedef("result", S32), id(U32)), []inspect.Change{}},
		{"parameter", read(S32, id(S32)), []inspect.Change{{"changed", "function", "helper", "type", "int32 (uint32)", "int32 (int32)", inspect.Code}}},
		{"result", read(U64), []inspect.Change{{"changed", "function", "helper", "type", "int (my_id)", "unsigned long long (void)", inspect.Code}}},
	} {
		if got := inspect.Compare(old, tt.new).Changes; !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	if text := string(old.Text()); !strings.Contains(text, "\nFUNCTION  TYPE\nhelper    int (my_id)\n\n") {
		t.Errorf("got %s", text)
	}
}

// Types without names, in one another many times, come to an end.
func TestManyTypes(t *testing.T) {
	for _, rows := range []uint32{0, 2} {
		for _, name := range []string{"", "m"} {
			inner := btf.Type(&btf.Struct{})
			for range 30 {
				if rows > 0 {
					inner = Array(inner, rows)
				}
				inner = &btf.Struct{Members: []btf.Member{{Name: name, Type: inner}, {Name: name, Type: inner}}}
			}
			outer := &btf.Struct{Name: "s", Size: 4, Members: []btf.Member{{Name: "in", Type: inner}, {Name: "size", Type: U32}}}
			file := &File{
				Programs: []Program{{Name: "p", Section: "xdp", Refs: []string{"v"}}},
				Vars:     []Var{{Section: ".bss", Name: "v", Type: outer, Align: 4}},
			}
			if types := report(t, file).Types; len(types) == 0 {
				t.Error("no types")
			}
		}
	}
}

// Values that begin alike are shown from where they do not.
func TestCompareLongValues(t *testing.T) {
	value := func(last byte) *File {
		text := make([]byte, 100)
		for i := range text {
			text[i] = 'a'
		}
		text[90] = last
		return &File{
			Programs: []Program{{Name: "p", Section: "xdp", Refs: []string{"text"}}},
			Vars:     []Var{{Section: ".data", Name: "text", Type: Array(U8, 100), Value: text}},
		}
	}
	diff := inspect.Compare(report(t, value('b')), report(t, value('c')))
	const want = `CONCERNS  CHANGE   WHAT                  OLD                              NEW
behavior  changed  variable text, value  ...6161616162616161616161616161  ...6161616163616161616161616161
`
	if got := string(diff.Text()); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
