package linker_test

import (
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/tool/internal/linker"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker/linkertest"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

// global is the type of a function that is not static.
func global(name string) btf.Type {
	return &btf.Func{Name: name, Type: &btf.FuncProto{Return: S32}, Linkage: btf.GlobalFunc}
}

// library and app are two files that share names of each kind.
func library(order binary.ByteOrder) []byte {
	node := Struct("node", M("next", Ptr(U8)), M("value", U64))
	node.Members[0].Type = Ptr(node)
	return (&File{
		Order:   order,
		License: "GPL",
		Vars: []Var{
			{Section: ".data", Name: "limit", Type: U64, Value: []byte{1, 2, 3, 4, 5, 6, 7, 8}, Weak: true},
			{Section: ".data", Name: "own", Type: U32, Static: true},
			{Section: ".bss", Name: "list", Type: node},
			{Section: ".maps", Name: "events", Type: Map(1, 16, U32, U64)},
			{Section: ".kconfig", Name: "CONFIG_HZ", Type: U32, Extern: true},
		},
		Programs: []Program{{Name: "helper", Section: ".text", Refs: []string{"limit", "events", ".data"}}},
		Types:    []btf.Type{global("helper")},
	}).Build()
}

func app(order binary.ByteOrder) []byte {
	return (&File{
		Order:   order,
		License: "GPL",
		Linked:  true,
		Vars: []Var{
			{Section: ".data", Name: "limit", Type: U64},
			{Section: ".bss", Name: "own", Type: U32, Static: true},
			{Section: ".maps", Name: "events", Type: Map(1, 16, U32, U64), Weak: true},
			{Section: ".kconfig", Name: "CONFIG_HZ", Type: U32, Extern: true, Weak: true},
		},
		Programs: []Program{{Name: "prog", Section: "xdp", Refs: []string{"limit", "events", ".bss"}}},
		Types:    []btf.Type{&btf.Fwd{Name: "node"}, global("prog")},
	}).Build()
}

// FuzzLink: no panic, and what is linked can be linked again.
func FuzzLink(f *testing.F) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		f.Add(library(order), app(order), true)
		f.Add(app(order), library(order), false)
	}
	f.Fuzz(func(t *testing.T, a, b []byte, partial bool) {
		data, err := linker.Link([]linker.Input{{Name: "a.o", Data: a}, {Name: "b.o", Data: b}}, linker.Options{Partial: partial})
		if err != nil {
			return
		}
		if _, err := linker.Link([]linker.Input{{Name: "linked.o", Data: data}}, linker.Options{Partial: partial}); err != nil {
			t.Errorf("what is linked cannot be linked again: %v", err)
		}
		// The inputs can be damaged in what the linker has no need to look at, so only
		// the ways to look are tried.
		_ = linkertest.Check(data, !partial)
	})
}

// TestObjects links the files that the fuzzer starts with.
func TestObjects(t *testing.T) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		inputs := []linker.Input{{Name: "library.o", Data: library(order)}, {Name: "app.o", Data: app(order)}}
		if _, err := linker.Link(inputs, linker.Options{}); err != nil {
			t.Error(err)
		}
	}
}
