package gotype

import (
	"slices"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/tool/internal/gonames"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

func TestPadding(t *testing.T) {
	port := Struct("port", M("number", U16), M("_pad", Array(U8, 0)))
	port.Size = 4
	flow := &btf.Struct{Name: "flow", Size: 20, Members: []btf.Member{
		{Name: "proto", Type: U8, Offset: 0},
		{Name: "ports", Type: Array(port, 2), Offset: 4 * 8},
		{Name: "addr", Type: U32, Offset: 12 * 8},
	}}
	for _, tt := range []struct {
		name string
		typ  btf.Type
		want []Span
	}{
		{"number", U64, nil},
		{"text", Array(Char, 1<<20), nil},
		{"middle, array and end", flow, []Span{{1, 4}, {6, 8}, {10, 12}, {16, 20}}},
		{"array of structs", Array(flow, 2), []Span{{1, 4}, {6, 8}, {10, 12}, {16, 20}, {21, 24}, {26, 28}, {30, 32}, {36, 40}}},
		{"union", Union("u", M("a", U8), M("b", U64)), nil},
	} {
		typ, err := NewDecls(gonames.NewScope()).Convert(tt.typ, "T", "the C type t")
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := Padding(typ); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
