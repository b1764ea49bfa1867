package skeleton

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// What the loader is given has no floating point types, and what it was made of is
// as before.
func TestReplaceFloats(t *testing.T) {
	float := &btf.Float{Name: "double", Size: 8}
	integer := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	// Refers to itself, and to the float by way of each kind of type.
	node := &btf.Struct{Name: "node", Size: 48}
	proto := &btf.FuncProto{Return: float, Params: []btf.FuncParam{{Name: "x", Type: &btf.Const{Type: float}}}}
	node.Members = []btf.Member{
		{Name: "next", Type: &btf.Pointer{Target: node}},
		{Name: "x", Type: &btf.Typedef{Name: "real", Type: float}, Offset: 64},
		{Name: "u", Type: &btf.Union{Size: 8, Members: []btf.Member{{Name: "y", Type: &btf.Volatile{Type: float}}}}, Offset: 128},
		{Name: "list", Type: &btf.Array{Index: integer, Type: float, Nelems: 2}, Offset: 192},
		{Name: "call", Type: &btf.Pointer{Target: &btf.TypeTag{Value: "user", Type: &btf.Restrict{Type: proto}}}, Offset: 320},
	}
	data := &btf.Datasec{Name: ".data", Size: 48, Vars: []btf.VarSecinfo{{Type: &btf.Var{Name: "v", Type: node}, Size: 48}}}
	fn := &btf.Func{Name: "f", Type: &btf.FuncProto{Return: integer, Params: []btf.FuncParam{{Name: "n", Type: &btf.Pointer{Target: node}}}}}
	plain := &btf.Func{Name: "g", Type: &btf.FuncProto{Return: integer}}
	maps := map[string]*ebpf.MapSpec{
		".data": {Name: ".data", Key: integer, Value: data},
		"outer": {Name: "outer", InnerMap: &ebpf.MapSpec{Name: "inner", Key: float, Value: float}},
	}
	progs := map[string]*ebpf.ProgramSpec{
		"f": {Name: "f", Instructions: asm.Instructions{
			btf.WithFuncMetadata(asm.Mov.Imm(asm.R0, 0), fn), asm.Return(),
			btf.WithFuncMetadata(asm.Mov.Imm(asm.R0, 0), plain), asm.Return(),
		}},
	}
	data0, inner, prog := maps[".data"], maps["outer"].InnerMap, progs["f"]

	replaceFloats(&ebpf.CollectionSpec{Maps: maps, Programs: progs})

	got := maps[".data"].Value.(*btf.Datasec)
	newNode := got.Vars[0].Type.(*btf.Var).Type.(*btf.Struct)
	newFn := btf.FuncMetadata(&progs["f"].Instructions[0])
	if hasFloat(got, newFn, maps["outer"].InnerMap.Key, maps["outer"].InnerMap.Value) {
		t.Error("there are floating point types still")
	}
	for i, m := range newNode.Members {
		was, _ := btf.Sizeof(node.Members[i].Type)
		if size, err := btf.Sizeof(m.Type); err != nil || size != was || m.Offset != node.Members[i].Offset {
			t.Errorf("member %s has %d bytes at %d, want %d at %d: %v", m.Name, size, m.Offset, was, node.Members[i].Offset, err)
		}
	}
	if newNode.Members[0].Type.(*btf.Pointer).Target != newNode {
		t.Error("a type that referred to itself refers to another")
	}
	if x, ok := btf.As[*btf.Struct](newNode.Members[1].Type); !ok || x.Name != "" || len(x.Members) != 0 || x.Size != 8 {
		t.Errorf("in the place of double is %v", x)
	}
	if fn := btf.FuncMetadata(&progs["f"].Instructions[2]); fn != plain {
		t.Errorf("a function without floats was replaced by %v", fn)
	}

	if data0.Value != data || inner.Key != float || btf.FuncMetadata(&prog.Instructions[0]) != fn {
		t.Error("the map or program of before was changed")
	}
	if !hasFloat(node.Members[1].Type) || !hasFloat(node.Members[2].Type) || !hasFloat(proto) || !hasFloat(fn) {
		t.Error("the types of before were changed")
	}

	// Nothing is copied when there is nothing to replace.
	spec := &ebpf.CollectionSpec{Maps: map[string]*ebpf.MapSpec{"m": {Name: "m", Key: integer}}}
	before := spec.Maps["m"]
	if replaceFloats(spec); spec.Maps["m"] != before {
		t.Error("a map without floats was replaced")
	}
}
