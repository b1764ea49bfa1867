package ctype

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

func TestDeclare(t *testing.T) {
	number := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	text := &btf.Const{Type: &btf.Int{Name: "char", Size: 1}}
	task := &btf.Struct{Name: "task"}
	pointer := func(t btf.Type) btf.Type { return &btf.Pointer{Target: t} }
	function := func(returns btf.Type, params ...btf.Type) btf.Type {
		f := &btf.FuncProto{Return: returns}
		for _, p := range params {
			f.Params = append(f.Params, btf.FuncParam{Type: p})
		}
		return f
	}
	loop := &btf.Pointer{}
	loop.Target = loop
	for _, tt := range []struct {
		typ  btf.Type
		want string
	}{
		{number, "int NAME"},
		{pointer(task), "struct task *NAME"},
		{pointer(text), "const char *NAME"},
		{&btf.Const{Type: pointer(number)}, "int *const NAME"},
		{&btf.Volatile{Type: number}, "volatile int NAME"},
		{pointer(&btf.TypeTag{Type: task, Value: "kptr"}), "struct task *NAME"},
		{pointer(pointer(&btf.Void{})), "void **NAME"},
		{&btf.Array{Type: pointer(number), Nelems: 3}, "int *NAME[3]"},
		{pointer(&btf.Array{Type: number, Nelems: 3}), "int (*NAME)[3]"},
		{&btf.Array{Type: &btf.Array{Type: number, Nelems: 3}, Nelems: 2}, "int NAME[2][3]"},
		{pointer(function(number, number)), "int (*NAME)(int)"},
		{pointer(function(&btf.Void{})), "void (*NAME)(void)"},
		{pointer(function(number, pointer(text), &btf.Void{})), "int (*NAME)(const char *, ...)"},
		{pointer(function(pointer(task), pointer(function(number, number)))), "struct task *(*NAME)(int (*)(int))"},
		{&btf.Array{Type: pointer(function(number)), Nelems: 4}, "int (*NAME[4])(void)"},
		{pointer(function(pointer(function(number)))), "int (*(*NAME)(void))(void)"},
		{pointer(&btf.Typedef{Name: "callback_t", Type: function(number)}), "callback_t *NAME"},
		{&btf.Const{Type: &btf.Typedef{Name: "u32", Type: number}}, "const u32 NAME"},
		{&btf.Enum{}, "enum {...} NAME"},
	} {
		if got := Declare(tt.typ, "NAME"); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	for want, typ := range map[string]btf.Type{
		"int (*)(int)":  pointer(function(number, number)),
		"struct task *": pointer(task),
		"int *[3]":      &btf.Array{Type: pointer(number), Nelems: 3},
		"int *const":    &btf.Const{Type: pointer(number)},
	} {
		if got := Declare(typ, ""); got != want {
			t.Errorf("without a name: got %q, want %q", got, want)
		}
	}
	if got := Declare(loop, ""); !strings.HasPrefix(got, "...") {
		t.Errorf("a type without an end is %q", got)
	}
}
