package usdt

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseArgs(t *testing.T) {
	for _, tc := range []struct {
		arch, args string
		want       []Arg
	}{
		{"amd64", "", nil},
		{"s390x", "", nil},
		{"amd64", "-4@%eax", []Arg{{kind: register, size: 4, signed: true, reg: 80}}},
		{"amd64", "8@%rdi 2@%bx 1@%r15b", []Arg{
			{kind: register, size: 8, reg: 112}, {kind: register, size: 2, reg: 40}, {kind: register, size: 1, reg: 0},
		}},
		{"amd64", "-4@$-9 8@$0xffffffffffffffff", []Arg{
			{kind: constant, size: 4, signed: true, value: -9}, {kind: constant, size: 8, value: -1},
		}},
		{"amd64", "-4@-1204(%rbp) 8@(%rax)", []Arg{
			{kind: memory, size: 4, signed: true, value: -1204, reg: 32}, {kind: memory, size: 8, reg: 80},
		}},
		{"amd64", "1@-96(%rbp,%rax,8) 4@(%rdx,%rcx)", []Arg{
			{kind: indexed, size: 1, value: -96, reg: 32, index: 80, shift: 3}, {kind: indexed, size: 4, reg: 96, index: 88},
		}},
		{"arm64", "-4@5 8@x4 4@w0 8@sp", []Arg{
			{kind: constant, size: 4, signed: true, value: 5}, {kind: register, size: 8, reg: 32}, {kind: register, size: 4}, {kind: register, size: 8, reg: 248},
		}},
		{"arm64", "4@[sp, 60] -8@[x19] 8@[x29, -16]", []Arg{
			{kind: memory, size: 4, value: 60, reg: 248}, {kind: memory, size: 8, signed: true, reg: 152}, {kind: memory, size: 8, value: -16, reg: 232},
		}},
	} {
		got, err := ParseArgs(tc.arch, tc.args)
		if err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s, %q: %+v, %v, want %+v", tc.arch, tc.args, got, err, tc.want)
		}
	}
}

func TestParseUSDTArgsErrors(t *testing.T) {
	for _, tc := range []struct{ arch, args, want string }{
		{"s390x", "8@%r1", "not known for architecture s390x"},
		{"amd64", "%rax", "does not begin with its size"},
		{"amd64", "x@%rax", "does not begin with its size"},
		{"amd64", "3@%rax", "size 3"},
		{"amd64", "8@%xmm0", "register %xmm0"},
		{"amd64", "8@", "no operand"},
		{"amd64", "8@$", "no operand"},
		{"amd64", "8@variable(%rip)", "no operand"},
		{"amd64", "8@(%rax", "no operand"},
		{"amd64", "8@(%rax,%rbx,3)", "no operand"},
		{"amd64", "8@(%rax,%xmm1)", "register %xmm1"},
		{"arm64", "8@x31", "register x31"},
		{"arm64", "8@v0", "register v0"},
		{"arm64", "8@[x0, x1]", "no operand"},
		{"arm64", "8@[x0", "no operand"},
		{"arm64", "8@", "no operand"},
		{"amd64", strings.Repeat("8@%rax ", 13), "more than"},
	} {
		_, err := ParseArgs(tc.arch, tc.args)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s, %q: error %v does not contain %q", tc.arch, tc.args, err, tc.want)
		}
	}
}

func FuzzParseArgs(f *testing.F) {
	f.Add("-4@%eax 8@8(%rbp,%rax,8)")
	f.Add("4@[sp, 60] 8@x0")
	f.Fuzz(func(_ *testing.T, args string) {
		_, _ = ParseArgs("amd64", args)
		_, _ = ParseArgs("arm64", args)
	})
}

func TestIDs(t *testing.T) {
	var ids IDs
	take := func(value string, want uint32, wantNew bool) {
		t.Helper()
		if id, isNew := ids.Take(value); id != want || isNew != wantNew {
			t.Errorf("take(%q) = %d, %v, want %d, %v", value, id, isNew, want, wantNew)
		}
	}
	take("a", 0, true)
	take("b", 1, true)
	take("a", 0, false)
	ids.Drop(0)
	take("c", 2, true)
	ids.Drop(0)
	take("d", 0, true)
	take("a", 3, true)
}
