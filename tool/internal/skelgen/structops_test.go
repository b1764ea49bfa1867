package skelgen_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/imagegen"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
	"github.com/rules-bpf/rules_bpf/tool/internal/skelgen"
)

var (
	function = Ptr(&btf.FuncProto{Return: S32})
	strategy = Enum("strategy", V("STRATEGY_FAST", 0), V("STRATEGY_FAIR", 1))
	ops      = Struct("scheduler_ops",
		M("select", function),
		M("weight", S32),
		M("strategy", strategy),
		M("scale", F64),
		M("name", Array(Char, 16)),
		M("shares", Array(u32, 3)),
		M("window", Struct("window", M("start", u64), M("done", function))),
		M("", Struct("", M("low", U16), M("high", U16))),
		M("owner", Ptr((*btf.Void)(nil))),
		M("enqueue", Typedef("enqueue_fn", function)),
		M("last", U8),
	)
	smallOps = Struct("scheduler_ops___small", M("select", function))

	structOpsFile = &File{
		License: "GPL",
		Programs: []Program{
			{Name: "pick", Section: "struct_ops/pick"},
			{Name: "put", Section: "struct_ops.s"},
			{Name: "tune", Section: "struct_ops"},
		},
		Vars: []Var{
			{Section: ".struct_ops.link", Name: "fair", Type: ops, Value: le(uint64(0), int32(5), uint32(1), 1.5, [16]byte{'f', 'a', 'i', 'r'}), Refs: []Ref{{Offset: 0, Name: "pick"}, {Offset: 88, Name: "put"}}},
			{Section: "?.struct_ops", Name: "Tune", Type: smallOps, Refs: []Ref{{Offset: 0, Name: "pick"}}},
		},
	}
)

// The golden file shows the rest.
func TestStructOpsOfOneType(t *testing.T) {
	file := *structOpsFile
	file.Vars = append(slices.Clone(file.Vars),
		Var{Section: ".struct_ops", Name: "second", Type: ops, Refs: []Ref{{Offset: 0, Name: "pick"}}},
		// The C type as it is, with function pointers that are addresses.
		Var{Section: ".data", Name: "copy", Type: ops},
	)
	src := string(generate(t, "ops", "ops.bpf.o", file.Build()))
	for _, want := range []string{
		"Copy Struct_C_scheduler_ops // copy",
		"Second *Table_C_scheduler_ops ",
		"Select skeleton.Pointer",
		"Select *skeleton.BaseProgram",
	} {
		if !strings.Contains(strings.Join(strings.Fields(src), " "), want) {
			t.Errorf("%q is not in\n%s", want, withoutObject([]byte(src)))
		}
	}
	if n := strings.Count(src, "type Table_C_scheduler_ops struct"); n != 1 {
		t.Errorf("the table's type is declared %d times", n)
	}
	for _, arch := range arches {
		if err := typeCheck([]byte(src), arch); err != nil {
			t.Errorf("%s: %v", arch, err)
		}
	}
}

func TestStructOpsErrors(t *testing.T) {
	odd := Struct("odd_ops", M("call", function), M("odd", &btf.Int{Name: "odd", Size: 3}), M("end", U64))
	file := &File{
		Programs: []Program{{Name: "pick", Section: "struct_ops"}},
		Vars:     []Var{{Section: ".struct_ops", Name: "table", Type: odd, Refs: []Ref{{Offset: 0, Name: "pick"}}}},
	}
	data := file.Build()
	obj, err := bpfobj.Read("ops.bpf.o", data)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := imagegen.Build("x.bpf.o", data)
	if err != nil {
		t.Fatal(err)
	}
	_, err = skelgen.Skeleton(obj, loaded, skelgen.Options{Package: "ops"})
	if err == nil || !strings.Contains(err.Error(), "table: .odd: odd: an integer of 3 bytes is not supported") {
		t.Errorf("got %v", err)
	}
}
