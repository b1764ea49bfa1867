package usdt

import (
	"reflect"
	"strings"
	"testing"
)

// symbols has the one at an address.
func symbols(name string) (uint64, bool) { return 0x41238, name == "counter" }

func TestParseArgs(t *testing.T) {
	for _, tc := range []struct {
		arch, args string
		want       []Arg
	}{
		{"amd64", "", nil},
		{"loong64", "", nil},
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
		{"amd64", "1@-96(%rbp,%rax,8) 4@(%rdx, %rcx)", []Arg{
			{kind: indexed, size: 1, value: -96, reg: 32, index: 80, shift: 3}, {kind: indexed, size: 4, reg: 96, index: 88},
		}},
		{"arm64", "-4@5 8@x4 4@w0 8@sp", []Arg{
			{kind: constant, size: 4, signed: true, value: 5}, {kind: register, size: 8, reg: 32}, {kind: register, size: 4}, {kind: register, size: 8, reg: 248},
		}},
		{"arm64", "4@[sp, 60] -8@[x19] 8@[x29, -16] 8@[ x1 , #0x10 ]", []Arg{
			{kind: memory, size: 4, value: 60, reg: 248}, {kind: memory, size: 8, signed: true, reg: 152}, {kind: memory, size: 8, value: -16, reg: 232},
			{kind: memory, size: 8, value: 16, reg: 8},
		}},
		// As gcc -O2 has them.
		{"arm64", "8@[x3, x0] -4@[x0, x1, lsl #2] 4@[x1, #:lo12:counter] 4@[x1, :lo12:counter+8]", []Arg{
			{kind: indexed, size: 8, reg: 24, index: 0}, {kind: indexed, size: 4, signed: true, reg: 0, index: 8, shift: 2},
			{kind: memory, size: 4, reg: 8, value: 0x238}, {kind: memory, size: 4, reg: 8, value: 0x240},
		}},
		{"arm", "4@r0 -4@[fp, #-8] 1@#5 4@[r1, r2, lsl #2] 4@[sp]", []Arg{
			{kind: register, size: 4}, {kind: memory, size: 4, signed: true, reg: 44, value: -8}, {kind: constant, size: 1, value: 5},
			{kind: indexed, size: 4, reg: 4, index: 8, shift: 2}, {kind: memory, size: 4, reg: 52},
		}},
		{"s390x", "8@%r2 -4@160(%r15) 8@(%r1) -2@-7 8@8(%r3,%r15)", []Arg{
			{kind: register, size: 8, reg: 40}, {kind: memory, size: 4, signed: true, reg: 144, value: 160}, {kind: memory, size: 8, reg: 32},
			{kind: constant, size: 2, signed: true, value: -7}, {kind: indexed, size: 8, reg: 144, index: 48, value: 8},
		}},
		{"riscv64", "8@a0 -4@-20(s0) 8@fp 4@12", []Arg{
			{kind: register, size: 8, reg: 80}, {kind: memory, size: 4, signed: true, reg: 64, value: -20}, {kind: register, size: 8, reg: 64},
			{kind: constant, size: 4, value: 12},
		}},
	} {
		got, err := ParseArgs(tc.arch, tc.args, symbols)
		if err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s, %q: %+v, %v, want %+v", tc.arch, tc.args, got, err, tc.want)
		}
	}
}

func TestParseArgsErrors(t *testing.T) {
	for _, tc := range []struct{ arch, args, want string }{
		{"loong64", "8@$a0", "not known for architecture loong64"},
		{"amd64", strings.Repeat("8@%rax ", 13), "more than"},
	} {
		_, err := ParseArgs(tc.arch, tc.args, nil)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s, %q: error %v does not contain %q", tc.arch, tc.args, err, tc.want)
		}
	}
}

// An argument that programs cannot read fails alone.
func TestUnreadableArgs(t *testing.T) {
	readable := map[string]string{"amd64": "-4@%eax", "arm": "4@r1", "arm64": "8@x1", "riscv64": "8@a1", "s390x": "8@%r1"}
	for _, tc := range []struct{ arch, arg, want string }{
		{"amd64", "%rax", "does not begin with its size"},
		{"amd64", "x@%rax", "does not begin with its size"},
		{"amd64", "3@%rax", "size 3"},
		{"amd64", "8@%xmm0", "register %xmm0"},
		{"amd64", "8@", "unsupported operand"},
		{"amd64", "8@$", "unsupported operand"},
		{"amd64", "8@variable(%rip)", "unsupported operand"},
		{"amd64", "8@(%rax,%rbx,3)", "unsupported operand"},
		{"amd64", "8@(%rax,%rbx,8,8)", "unsupported operand"},
		{"amd64", "8@(,%rbx,8)", "unsupported operand"},
		{"amd64", "8@(%rax,%xmm1)", "register %xmm1"},
		{"amd64", "8@8(%rax)8", "unsupported operand"},
		{"arm64", "8@x31", "register x31"},
		{"arm64", "8@x01", "register x01"},
		{"arm64", "8@v0", "register v0"},
		{"arm64", "8@[x0, w1, uxtw #2]", "extends a part"},
		{"arm64", "8@[x0, x1, lsl #16]", "unsupported operand"},
		{"arm64", "8@[x0, x1, lsl #2, x3]", "unsupported operand"},
		{"arm64", "8@[x0, #:lo12:other]", "symbol other"},
		{"arm64", "8@[x0, #x1]", "unsupported operand"},
		{"arm64", "8@", "unsupported operand"},
		{"arm", "4@r16", "register r16"},
		{"s390x", "8@%f0", "register %f0"},
		{"s390x", "8@8(%r1,%r2,%r3)", "unsupported operand"},
		{"riscv64", "8@fa0", "register fa0"},
		{"riscv64", "8@8(a0,a1)", "unsupported operand"},
	} {
		args, err := ParseArgs(tc.arch, readable[tc.arch]+" "+tc.arg+" "+readable[tc.arch], symbols)
		if err != nil || len(args) != 3 {
			t.Errorf("%s, %q: %+v, %v", tc.arch, tc.arg, args, err)
			continue
		}
		if args[0].Err != nil || args[2].Err != nil || args[1].kind != unreadable {
			t.Errorf("%s, %q: %+v", tc.arch, tc.arg, args)
		}
		if err := args[1].Err; err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "argument 1, ") {
			t.Errorf("%s, %q: error %v does not contain %q", tc.arch, tc.arg, err, tc.want)
		}
	}
}

func FuzzParseArgs(f *testing.F) {
	f.Add("-4@%eax 8@8(%rbp,%rax,8)")
	f.Add("4@[sp, 60] 8@x0 4@[x1, x2, lsl #3] 4@[x1, #:lo12:counter+8]")
	f.Fuzz(func(_ *testing.T, args string) {
		for arch := range archs {
			_, _ = ParseArgs(arch, args, symbols)
		}
	})
}
