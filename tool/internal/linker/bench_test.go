package linker_test

import (
	"fmt"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/tool/internal/linker"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

// large returns an object with many variables, maps and programs, and types that
// refer to each other, as those of the kernel do. What it defines starts with the
// prefix; the types are those of all.
func large(prefix string, vars, maps, programs int) []byte {
	f := &File{License: "GPL"}
	var types []*btf.Struct
	for i := range 500 {
		types = append(types, Struct(fmt.Sprintf("type%d", i), M("next", Ptr(U8)), M("other", Ptr(U8)), M("value", Array(U32, uint32(i+1)))))
	}
	for i, s := range types {
		s.Members[0].Type = Ptr(types[(i+1)%len(types)])
		s.Members[1].Type = Ptr(Const(types[(i*7+3)%len(types)]))
	}
	var refs []string
	for i := range vars {
		name := fmt.Sprintf("%s_v%d", prefix, i)
		typ := btf.Type(U64)
		if i == 0 {
			typ = Ptr(types[0])
		}
		f.Vars = append(f.Vars, Var{Section: []string{".data", ".bss", ".rodata"}[i%3], Name: name, Type: typ})
		refs = append(refs, name)
	}
	for i := range maps {
		name := fmt.Sprintf("%s_m%d", prefix, i)
		f.Vars = append(f.Vars, Var{Section: ".maps", Name: name, Type: Map(1, uint32(i+1), U32, types[i])})
		refs = append(refs, name)
	}
	for i := range programs {
		name := fmt.Sprintf("%s_p%d", prefix, i)
		f.Programs = append(f.Programs, Program{Name: name, Section: "xdp", Refs: refs[i%len(refs) : min(i%len(refs)+10, len(refs))]})
		f.Types = append(f.Types, global(name))
	}
	return f.Build()
}

// BenchmarkLink links an application of 1,050 variables, 200 programs and 60 maps
// with ten libraries.
func BenchmarkLink(b *testing.B) {
	inputs := []linker.Input{{Name: "app.o", Data: large("app", 1050, 60, 200)}}
	for i := range 10 {
		name := fmt.Sprintf("lib%d", i)
		inputs = append(inputs, linker.Input{Name: name + ".o", Data: large(name, 20, 4, 10)})
	}
	for b.Loop() {
		if _, err := linker.Link(inputs, linker.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
