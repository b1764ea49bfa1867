package skeleton

import (
	"errors"
	"sync"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// kernelHasFloats says whether the kernel takes BTF with floating point types, as
// Linux does since 5.13.
var kernelHasFloats = sync.OnceValue(func() bool {
	b, err := btf.NewBuilder([]btf.Type{&btf.Float{Name: "float", Size: 4}}, nil)
	if err != nil {
		return true
	}
	h, err := btf.NewHandle(b)
	if err == nil {
		h.Close()
	}
	return !errors.Is(err, syscall.EINVAL)
})

// replaceFloats replaces the floating point types of what the kernel is told of maps
// and programs, as libbpf does for kernels that do not know them: by structs of the
// same size without a name or members. Maps and programs with such types are
// replaced by copies, since other skeletons have the same types.
func replaceFloats(spec *ebpf.CollectionSpec) {
	var roots []btf.Type
	for _, m := range spec.Maps {
		for ; m != nil; m = m.InnerMap {
			roots = append(roots, m.Key, m.Value)
		}
	}
	for _, p := range spec.Programs {
		for i := range p.Instructions {
			if fn := btf.FuncMetadata(&p.Instructions[i]); fn != nil {
				roots = append(roots, fn)
			}
		}
	}
	if !hasFloat(roots...) {
		return
	}
	for name, m := range spec.Maps {
		m = m.Copy()
		spec.Maps[name] = m
		for ; m != nil; m = m.InnerMap {
			m.Key, m.Value = withoutFloats(m.Key), withoutFloats(m.Value)
		}
	}
	for name, p := range spec.Programs {
		p = p.Copy()
		spec.Programs[name] = p
		for i, ins := range p.Instructions {
			if fn := btf.FuncMetadata(&ins); fn != nil {
				p.Instructions[i] = btf.WithFuncMetadata(ins, withoutFloats(fn).(*btf.Func))
			}
		}
	}
}

// hasFloat says whether any of the types is a floating point type or refers to one.
func hasFloat(roots ...btf.Type) bool {
	found := false
	eachType(roots, func(t *btf.Type) {
		if _, ok := (*t).(*btf.Float); ok {
			found = true
		}
	})
	return found
}

// withoutFloats returns the type, or a copy of it without floating point types if it
// has any.
func withoutFloats(root btf.Type) btf.Type {
	if !hasFloat(root) {
		return root
	}
	roots := []btf.Type{btf.Copy(root)}
	replaced := make(map[*btf.Float]*btf.Struct)
	eachType(roots, func(t *btf.Type) {
		f, ok := (*t).(*btf.Float)
		if !ok {
			return
		}
		if replaced[f] == nil {
			replaced[f] = &btf.Struct{Size: f.Size}
		}
		*t = replaced[f]
	})
	return roots[0]
}

// eachType calls do for every place that refers to a type: those of the roots, and
// those in types that it has come to. do may put another type there.
func eachType(roots []btf.Type, do func(*btf.Type)) {
	var places []*btf.Type
	add := func(t *btf.Type) { places = append(places, t) }
	for i := range roots {
		add(&roots[i])
	}
	seen := make(map[btf.Type]bool)
	for len(places) > 0 {
		last := len(places) - 1
		t := places[last]
		places = places[:last]
		do(t)
		if *t != nil && !seen[*t] {
			seen[*t] = true
			referred(*t, add)
		}
	}
}

// referred calls do for every place in a type that refers to another.
func referred(t btf.Type, do func(*btf.Type)) {
	switch t := t.(type) {
	case *btf.Pointer:
		do(&t.Target)
	case *btf.Array:
		do(&t.Type)
	case *btf.Struct:
		for i := range t.Members {
			do(&t.Members[i].Type)
		}
	case *btf.Union:
		for i := range t.Members {
			do(&t.Members[i].Type)
		}
	case *btf.Typedef:
		do(&t.Type)
	case *btf.Volatile:
		do(&t.Type)
	case *btf.Const:
		do(&t.Type)
	case *btf.Restrict:
		do(&t.Type)
	case *btf.TypeTag:
		do(&t.Type)
	case *btf.Func:
		do(&t.Type)
	case *btf.FuncProto:
		do(&t.Return)
		for i := range t.Params {
			do(&t.Params[i].Type)
		}
	case *btf.Var:
		do(&t.Type)
	case *btf.Datasec:
		for i := range t.Vars {
			do(&t.Vars[i].Type)
		}
	}
}
