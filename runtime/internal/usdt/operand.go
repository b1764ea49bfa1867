package usdt

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// argKind is enum __bpf_usdt_arg_type of bpf/usdt.bpf.h.
type argKind uint64

const (
	constant argKind = iota
	register
	memory
	indexed
	// unreadable is not one of the header's values, so that bpf_usdt_arg returns -EINVAL.
	unreadable argKind = 0xff
)

// Arg is where an argument of a USDT is: struct __bpf_usdt_arg_spec
// of bpf/usdt.bpf.h.
type Arg struct {
	kind argKind
	// size is the number of bytes: 1, 2, 4 or 8.
	size   int
	signed bool
	// value is the constant, or the displacement.
	value int64
	// reg and index are the offsets of registers in struct pt_regs.
	reg, index int
	// shift is what the index register is shifted by to the left.
	shift int
	// Err is why a program cannot read the argument, nil when it can. For this argument alone
	// bpf_usdt_arg returns -EINVAL.
	Err error
}

// maxArgs is BPF_USDT_MAX_ARG_CNT of bpf/usdt.bpf.h.
const maxArgs = 12

// Symbols returns the address of a symbol of the file with the USDT, and whether the file has it.
type Symbols func(name string) (addr uint64, ok bool)

// arch is how the arguments of USDTs are written on an architecture.
type arch struct {
	// operand parses what follows "size@".
	operand func(a *arch, s string, arg *Arg, symbols Symbols) error
	// prefix is what the names of registers begin with in operands.
	prefix string
	// registers are the offsets in struct pt_regs, by name. They are made when the first
	// USDT needs them, and not when a process starts.
	registers func() map[string]int
}

// archs are the architectures whose arguments are known, by GOARCH.
var archs = map[string]*arch{
	"amd64":   {operandAMD64, "%", sync.OnceValue(registersAMD64)},
	"arm":     {operandARM, "", sync.OnceValue(registersARM)},
	"arm64":   {operandARM, "", sync.OnceValue(registersARM64)},
	"riscv64": {operandRISCV, "", sync.OnceValue(registersRISCV)},
	"s390x":   {operandS390, "%", sync.OnceValue(registersS390)},
}

// ParseArgs parses the arguments of a USDT for the architecture, a GOARCH, as in the ELF note:
// "-4@%eax 8@8(%rbp)". The format is that of the assembler's operands, with the
// size in bytes in front, negative for a signed number.
//
// An argument that a program cannot read has the reason in Err. ParseArgs fails for
// architectures that it does not know, and for more arguments than the header has room for.
func ParseArgs(goarch, s string, symbols Symbols) ([]Arg, error) {
	fields := split(s)
	if len(fields) == 0 {
		return nil, nil
	}
	a, ok := archs[goarch]
	if !ok {
		return nil, fmt.Errorf("arguments of USDTs are not known for architecture %s, only for amd64, arm, arm64, riscv64 and s390x", goarch)
	}
	if len(fields) > maxArgs {
		return nil, fmt.Errorf("USDT has %d arguments, more than bpf/usdt.bpf.h has room for (%d)", len(fields), maxArgs)
	}
	args := make([]Arg, len(fields))
	for i, field := range fields {
		if err := a.parse(field, &args[i], symbols); err != nil {
			args[i] = Arg{kind: unreadable, size: 8, Err: fmt.Errorf("argument %d, %q: %w", i, field, err)}
		}
	}
	return args, nil
}

func (a *arch) parse(field string, arg *Arg, symbols Symbols) error {
	size, operand, ok := strings.Cut(field, "@")
	n, err := strconv.Atoi(size)
	if !ok || err != nil {
		return errors.New("does not begin with its size and @")
	}
	arg.size, arg.signed = max(n, -n), n < 0
	switch arg.size {
	case 1, 2, 4, 8:
	default:
		return fmt.Errorf("size %d is not 1, 2, 4 or 8", n)
	}
	return a.operand(a, operand, arg, symbols)
}

// split splits at blanks that are not within brackets.
func split(s string) []string {
	depth := 0
	return strings.FieldsFunc(s, func(r rune) bool {
		switch r {
		case '[', '(':
			depth++
		case ']', ')':
			depth--
		}
		return r == ' ' && depth == 0
	})
}

var errOperand = errors.New("unsupported operand: not a constant, a register, or memory at registers plus a constant")

// register returns the offset of a register in struct pt_regs.
func (a *arch) register(s string) (int, error) {
	s = strings.TrimSpace(s)
	name, ok := strings.CutPrefix(s, a.prefix)
	if !ok || name == "" || strings.ContainsAny(name, "()[], ") {
		return 0, errOperand
	}
	offset, ok := a.registers()[name]
	if !ok {
		return 0, fmt.Errorf("register %s cannot be read by a program", s)
	}
	return offset, nil
}

// isNumber reports whether s begins as a number does.
func isNumber(s string) bool {
	s = strings.TrimLeft(s, "+-")
	return s != "" && s[0] >= '0' && s[0] <= '9'
}

// parseConstant parses a number with or without a sign. Numbers above those of
// int64 wrap around, as in the assembler.
func parseConstant(s string) (int64, error) {
	if n, err := strconv.ParseInt(s, 0, 64); err == nil {
		return n, nil
	}
	n, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		return 0, errOperand
	}
	return int64(n), nil
}

// parenthesized parses a displacement before registers in parentheses, and returns what is
// between these. A displacement that is a symbol is relative to the code.
func parenthesized(s string, arg *Arg) (inner []string, err error) {
	displacement, rest, ok := strings.Cut(s, "(")
	between, isLast := strings.CutSuffix(rest, ")")
	if !ok || !isLast || strings.ContainsAny(between, "()") {
		return nil, errOperand
	}
	if displacement != "" {
		if arg.value, err = parseConstant(displacement); err != nil {
			return nil, err
		}
	}
	return strings.Split(between, ","), nil
}

// operandAMD64 parses an operand in the assembler's AT&T syntax: $5, %eax, -8(%rbp),
// 8(%rbp,%rax,4).
func operandAMD64(a *arch, s string, arg *Arg, _ Symbols) (err error) {
	if num, ok := strings.CutPrefix(s, "$"); ok {
		arg.kind = constant
		arg.value, err = parseConstant(num)
		return err
	}
	if strings.HasPrefix(s, "%") {
		arg.kind = register
		arg.reg, err = a.register(s)
		return err
	}
	inner, err := parenthesized(s, arg)
	if err != nil {
		return err
	}
	arg.kind = memory
	if arg.reg, err = a.register(inner[0]); err != nil || len(inner) == 1 {
		return err
	}
	arg.kind = indexed
	if arg.index, err = a.register(inner[1]); err != nil || len(inner) == 2 {
		return err
	}
	scales := map[string]int{"1": 0, "2": 1, "4": 2, "8": 3}
	shift, ok := scales[strings.TrimSpace(inner[2])]
	if !ok || len(inner) > 3 {
		return errOperand
	}
	arg.shift = shift
	return nil
}

func registersAMD64() map[string]int {
	regs := make(map[string]int)
	// A word each, in this order.
	for i, names := range []string{
		"r15 r15d r15w r15b",
		"r14 r14d r14w r14b",
		"r13 r13d r13w r13b",
		"r12 r12d r12w r12b",
		"rbp ebp bp bpl",
		"rbx ebx bx bl",
		"r11 r11d r11w r11b",
		"r10 r10d r10w r10b",
		"r9 r9d r9w r9b",
		"r8 r8d r8w r8b",
		"rax eax ax al",
		"rcx ecx cx cl",
		"rdx edx dx dl",
		"rsi esi si sil",
		"rdi edi di dil",
		"", // orig_ax
		"rip eip",
		"", // cs
		"", // flags
		"rsp esp sp spl",
	} {
		for name := range strings.FieldsSeq(names) {
			regs[name] = 8 * i
		}
	}
	return regs
}

// operandARM parses an operand of either ARM: 5, x0, [x0], [sp, 16], [x1, #:lo12:symbol],
// [x0, x1], [x0, x1, lsl #3].
func operandARM(a *arch, s string, arg *Arg, symbols Symbols) (err error) {
	if between, ok := strings.CutPrefix(s, "["); ok {
		between, ok = strings.CutSuffix(between, "]")
		if !ok {
			return errOperand
		}
		arg.kind = memory
		parts := strings.Split(between, ",")
		if arg.reg, err = a.register(parts[0]); err != nil || len(parts) == 1 {
			return err
		}
		return a.offsetARM(parts[1:], arg, symbols)
	}
	if number := strings.TrimPrefix(s, "#"); isNumber(number) {
		arg.kind = constant
		arg.value, err = parseConstant(number)
		return err
	}
	arg.kind = register
	arg.reg, err = a.register(s)
	return err
}

// offsetARM parses what follows the first register in brackets.
func (a *arch) offsetARM(parts []string, arg *Arg, symbols Symbols) (err error) {
	offset := strings.TrimSpace(parts[0])
	switch number := strings.TrimPrefix(offset, "#"); {
	case len(parts) == 1 && isNumber(number):
		arg.value, err = parseConstant(number)
		return err
	case len(parts) == 1 && strings.HasPrefix(number, ":lo12:"):
		arg.value, err = lowBits(strings.TrimPrefix(number, ":lo12:"), symbols)
		return err
	case strings.HasPrefix(offset, "#"), len(parts) > 2:
		return errOperand
	}
	arg.kind = indexed
	if arg.index, err = a.register(offset); err != nil || len(parts) == 1 {
		return err
	}
	shift, ok := strings.CutPrefix(strings.TrimSpace(parts[1]), "lsl")
	if !ok {
		return fmt.Errorf("%q extends a part of the index register, and programs read all of it", strings.TrimSpace(parts[1]))
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(shift), "#"), 10, 8)
	const maxShift = 15 // of scale_bitshift
	if err != nil || n > maxShift {
		return errOperand
	}
	arg.shift = int(n)
	return nil
}

// lowBits returns the low 12 bits of the address of a symbol or of "symbol+number": the
// register has the rest. Wherever the file is loaded, they stay the same.
func lowBits(expression string, symbols Symbols) (int64, error) {
	name, addend, hasAddend := strings.Cut(expression, "+")
	var add int64
	if hasAddend {
		var err error
		if add, err = parseConstant(addend); err != nil {
			return 0, err
		}
	}
	if symbols != nil {
		if addr, ok := symbols(name); ok {
			return int64(addr+uint64(add)) & 0xfff, nil
		}
	}
	return 0, fmt.Errorf("its address is that of symbol %s, which the file does not have: use one that is not stripped", name)
}

// registersARM64 are those of struct user_pt_regs: 31 registers, sp, pc.
func registersARM64() map[string]int {
	regs := map[string]int{"sp": 8 * 31}
	for i := range 31 {
		regs["x"+strconv.Itoa(i)], regs["w"+strconv.Itoa(i)] = 8*i, 8*i
	}
	return regs
}

// registersARM are those of struct pt_regs of the 32-bit ARM, 4 bytes each.
func registersARM() map[string]int {
	regs := map[string]int{"sl": 4 * 10, "fp": 4 * 11, "ip": 4 * 12, "sp": 4 * 13, "lr": 4 * 14, "pc": 4 * 15}
	for i := range 16 {
		regs["r"+strconv.Itoa(i)] = 4 * i
	}
	return regs
}

// operandRISCV parses an operand such as 5, a0 and -8(s0).
func operandRISCV(a *arch, s string, arg *Arg, _ Symbols) error {
	return a.operandWithParentheses(s, arg, 1)
}

// operandS390 parses an operand such as 5, %r2, 160(%r15) and 8(%r1,%r15), whose first
// register is the index.
func operandS390(a *arch, s string, arg *Arg, _ Symbols) error {
	return a.operandWithParentheses(s, arg, 2)
}

// operandWithParentheses parses a number, a register, or a displacement with up to so many
// registers.
func (a *arch) operandWithParentheses(s string, arg *Arg, most int) (err error) {
	switch {
	case strings.Contains(s, "("):
		inner, err := parenthesized(s, arg)
		if err != nil {
			return err
		}
		if len(inner) > most {
			return errOperand
		}
		arg.kind = memory
		arg.reg, err = a.register(inner[len(inner)-1])
		if err != nil || len(inner) == 1 {
			return err
		}
		arg.kind = indexed
		arg.index, err = a.register(inner[0])
		return err
	case isNumber(s):
		arg.kind = constant
		arg.value, err = parseConstant(s)
		return err
	}
	arg.kind = register
	arg.reg, err = a.register(s)
	return err
}

// registersRISCV are those of struct user_regs_struct.
func registersRISCV() map[string]int {
	regs := make(map[string]int)
	names := "pc ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6"
	for i, name := range strings.Fields(names) {
		regs[name] = 8 * i
	}
	regs["fp"] = regs["s0"]
	return regs
}

// registersS390 are those of struct user_pt_regs: a word of arguments, the PSW of two, and 16
// registers.
func registersS390() map[string]int {
	regs := make(map[string]int)
	for i := range 16 {
		regs["r"+strconv.Itoa(i)] = 8 * (3 + i)
	}
	return regs
}
