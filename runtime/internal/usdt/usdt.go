// Package usdt knows USDTs, the static probes of programs and libraries in user space: where
// they are, where their arguments are, and how a BPF program that includes bpf/usdt.bpf.h is
// told.
//
// The compiler puts a note into the ELF file for each location of a USDT, with the location's
// address, the address of a semaphore, which counts who listens, and where the arguments are.
// Attaching is a uprobe at each location, for which the kernel keeps the semaphore, and an
// entry in the map [SpecMap], from which the program finds its arguments: by the uprobe's
// cookie, or on kernels without cookies by the location's address in the map [IPMap]. Equal
// entries share an index, which [IDs] gives out. The format of the notes is SystemTap's; the
// maps and the sequence are libbpf's.
package usdt

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The maps of bpf/usdt.bpf.h: of struct __bpf_usdt_spec by index, and of indexes by address.
const (
	SpecMap = "__bpf_usdt_specs"
	IPMap   = "__bpf_usdt_ip_to_spec_id"
)

// argKind is enum __bpf_usdt_arg_type of bpf/usdt.bpf.h.
type argKind uint64

const (
	constant argKind = iota
	register
	memory
	indexed
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
}

// maxArgs is BPF_USDT_MAX_ARG_CNT of bpf/usdt.bpf.h.
const maxArgs = 12

// arch is how the arguments of USDTs are written on an architecture.
type arch struct {
	// operand parses what follows "size@".
	operand func(s string, arg *Arg) error
	// split splits the arguments of a probe.
	split func(s string) []string
}

// archs are the architectures whose arguments are known, by GOARCH.
var archs = map[string]arch{
	"amd64": {operandAMD64, strings.Fields},
	"arm64": {operandARM64, splitARM64},
}

// ParseArgs parses the arguments of a USDT for the architecture, a GOARCH, as in the ELF note:
// "-4@%eax 8@8(%rbp)". The format is that of the assembler's operands, with the
// size in bytes in front, negative for a signed number.
func ParseArgs(goarch, s string) ([]Arg, error) {
	if s == "" {
		return nil, nil
	}
	arch, ok := archs[goarch]
	if !ok {
		return nil, fmt.Errorf("arguments of static probes are not known for architecture %s, only for amd64 and arm64", goarch)
	}
	fields := arch.split(s)
	if len(fields) > maxArgs {
		return nil, fmt.Errorf("probe has %d arguments, more than bpf/usdt.bpf.h has room for (%d)", len(fields), maxArgs)
	}
	args := make([]Arg, 0, len(fields))
	for i, field := range fields {
		size, operand, ok := strings.Cut(field, "@")
		n, err := strconv.Atoi(size)
		if !ok || err != nil {
			return nil, fmt.Errorf("argument %d, %q: does not begin with its size and @", i, field)
		}
		arg := Arg{size: max(n, -n), signed: n < 0}
		switch arg.size {
		case 1, 2, 4, 8:
		default:
			return nil, fmt.Errorf("argument %d, %q: size %d is none of 1, 2, 4 and 8", i, field, n)
		}
		if err := arch.operand(operand, &arg); err != nil {
			return nil, fmt.Errorf("argument %d, %q: %w", i, field, err)
		}
		args = append(args, arg)
	}
	return args, nil
}

// amd64Regs are the offsets of the registers in struct pt_regs of x86-64, which has one
// word per register, in this order. Like the expressions below, they are made when the
// first probe needs them, and not when a process starts.
var amd64Regs = sync.OnceValue(func() map[string]int {
	regs := make(map[string]int)
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
})

var (
	errOperand = errors.New("is no operand of a kind that is known: a constant, a register, or memory that registers and a number point to")

	amd64Memory = lazyRegexp(`^([-+]?(?:0x[0-9a-fA-F]+|[0-9]+))?\(%([a-z0-9]+)(?:, *%([a-z0-9]+)(?:, *([1248]))?)?\)$`)
	arm64Memory = lazyRegexp(`^\[ *([a-z0-9]+) *(?:, *#?([-+]?(?:0x[0-9a-fA-F]+|[0-9]+)))? *\]$`)
)

func lazyRegexp(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

// operandAMD64 parses an operand in the assembler's AT&T syntax.
func operandAMD64(s string, arg *Arg) (err error) {
	if num, ok := strings.CutPrefix(s, "$"); ok {
		arg.kind = constant
		arg.value, err = parseConstant(num)
		return err
	}
	if name, ok := strings.CutPrefix(s, "%"); ok {
		arg.kind = register
		arg.reg, err = registerAMD64(name)
		return err
	}
	m := amd64Memory().FindStringSubmatch(s)
	if m == nil {
		return errOperand
	}
	arg.kind = memory
	if m[1] != "" {
		if arg.value, err = parseConstant(m[1]); err != nil {
			return err
		}
	}
	if arg.reg, err = registerAMD64(m[2]); err != nil {
		return err
	}
	if m[3] == "" {
		return nil
	}
	arg.kind = indexed
	arg.shift = map[string]int{"": 0, "1": 0, "2": 1, "4": 2, "8": 3}[m[4]]
	arg.index, err = registerAMD64(m[3])
	return err
}

func registerAMD64(name string) (int, error) {
	offset, ok := amd64Regs()[name]
	if !ok {
		return 0, fmt.Errorf("register %%%s is none that a program can read", name)
	}
	return offset, nil
}

// operandARM64 parses an operand such as 5, x0, w0, sp, [x0] and [sp, 16].
func operandARM64(s string, arg *Arg) (err error) {
	if m := arm64Memory().FindStringSubmatch(s); m != nil {
		arg.kind = memory
		if m[2] != "" {
			if arg.value, err = parseConstant(m[2]); err != nil {
				return err
			}
		}
		arg.reg, err = registerARM64(m[1])
		return err
	}
	if value, err := parseConstant(strings.TrimPrefix(s, "#")); err == nil {
		arg.kind, arg.value = constant, value
		return nil
	}
	if s == "" || strings.ContainsAny(s, "[],") {
		return errOperand
	}
	arg.kind = register
	arg.reg, err = registerARM64(s)
	return err
}

func registerARM64(name string) (int, error) {
	// struct user_pt_regs: 31 registers, sp, pc.
	if name == "sp" {
		return 8 * 31, nil
	}
	if name != "" && (name[0] == 'x' || name[0] == 'w') {
		if n, err := strconv.ParseUint(name[1:], 10, 8); err == nil && n <= 30 {
			return 8 * int(n), nil
		}
	}
	return 0, fmt.Errorf("register %s is none that a program can read", name)
}

// splitARM64 splits at blanks that are not within brackets.
func splitARM64(s string) []string {
	depth := 0
	return strings.FieldsFunc(s, func(r rune) bool {
		switch r {
		case '[':
			depth++
		case ']':
			depth--
		}
		return r == ' ' && depth == 0
	})
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

// IDs gives out the indexes of the map of specs. Equal specs share one. The zero value has
// given out none. It has a mutex of its own because links give indexes back, which users may
// close at any time.
type IDs struct {
	mu   sync.Mutex
	ids  map[string]uint32
	uses []use
}

type use struct {
	value string
	count int
}

// Take returns the index for the value of a spec, one that is not in use when isNew, and
// counts the use.
func (u *IDs) Take(value string) (id uint32, isNew bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if id, ok := u.ids[value]; ok {
		u.uses[id].count++
		return id, false
	}
	if u.ids == nil {
		u.ids = make(map[string]uint32)
	}
	i := slices.IndexFunc(u.uses, func(use use) bool { return use.count == 0 })
	if i < 0 {
		i = len(u.uses)
		u.uses = append(u.uses, use{})
	}
	u.uses[i] = use{value, 1}
	u.ids[value] = uint32(i)
	return uint32(i), true
}

// Drop ends a use of an index.
func (u *IDs) Drop(id uint32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.uses[id].count--
	if u.uses[id].count == 0 {
		delete(u.ids, u.uses[id].value)
	}
}
