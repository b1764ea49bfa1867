package normalise_test

import (
	"bytes"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/tool/internal/normalise"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

// Sections of struct_ops maps become data, of which the loader knows where each
// variable is and of what type.
func TestStructOps(t *testing.T) {
	ops := Struct("ops", M("number", U64), M("call", Ptr(&btf.FuncProto{Return: S32})))
	sections := []string{".struct_ops", ".struct_ops.link", "?.struct_ops", "?.struct_ops.link"}
	for _, linked := range []bool{false, true} {
		f := &File{Linked: linked, Programs: []Program{{Name: "on_call", Section: "struct_ops"}}}
		// The name is taken.
		f.Vars = []Var{{Section: ".data.struct_ops", Name: "data", Type: U32}}
		for _, sec := range sections {
			for _, name := range []string{"a", "b"} {
				f.Vars = append(f.Vars, Var{Section: sec, Name: name + sec[1:], Type: ops, Value: []byte(name), Refs: []Ref{{8, "on_call"}}})
			}
		}
		obj := must(t, f.Build())
		spec := load(t, obj.ELF)
		names := []string{".data.struct_ops_", ".data.struct_ops.link", ".data?.struct_ops", ".data?.struct_ops.link"}
		for i, sec := range sections {
			if got := obj.Section(sec); got != names[i] {
				t.Errorf("%s is called %s, want %s", sec, got, names[i])
			}
			m := spec.Maps[names[i]]
			if m == nil || m.Type != ebpf.Array {
				t.Errorf("%s: the loader has %v", sec, m)
				continue
			}
			ds, ok := m.Value.(*btf.Datasec)
			if !ok || len(ds.Vars) != 2 || ds.Vars[0].Offset != 0 || ds.Vars[1].Offset != 16 {
				t.Errorf("%s: has variables %v", sec, ds)
			}
			contents, _ := m.Contents[0].Value.([]byte)
			if len(contents) != 32 || contents[0] != 'a' || contents[16] != 'b' {
				t.Errorf("%s: has contents %v", sec, contents)
			}
		}
		if again, err := normalise.Bytes(obj.ELF); err != nil || !bytes.Equal(again.ELF, obj.ELF) {
			t.Errorf("a second time changes it: %v", err)
		}
	}
}
