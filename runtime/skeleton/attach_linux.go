package skeleton

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/runtime/internal/kallsyms"
	"github.com/rules-bpf/rules_bpf/runtime/internal/perfevent"
	"github.com/rules-bpf/rules_bpf/runtime/internal/privilege"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
	"github.com/rules-bpf/rules_bpf/runtime/internal/userelf"
)

// attachers are what attaches programs automatically.
var attachers map[secdef.Auto]attacher

func init() {
	// Not in the declaration: the functions use the table.
	attachers = map[secdef.Auto]attacher{
		secdef.AutoKprobe:        taking[KprobeOptions](attachKprobe),
		secdef.AutoKprobeMulti:   taking[KprobeMultiOptions](attachKprobeMulti),
		secdef.AutoSyscall:       taking[SyscallOptions](attachSyscall),
		secdef.AutoUprobe:        taking[UprobeOptions](attachUprobe),
		secdef.AutoUprobeMulti:   taking[UprobeMultiOptions](attachUprobeMulti),
		secdef.AutoUSDT:          taking[USDTOptions](attachUSDT),
		secdef.AutoTracepoint:    taking[TracepointOptions](attachTracepoint),
		secdef.AutoRawTracepoint: taking[RawTracepointOptions](attachRawTracepoint),
		secdef.AutoTracing:       taking[TracingOptions](attachTracing),
		secdef.AutoFreplace:      attachFreplace,
		secdef.AutoLSM:           taking[TracingOptions](attachTracing),
		secdef.AutoIter:          taking[IterOptions](attachIter),
	}
}

// taking makes an attacher refuse options that are not its own: those that the program's
// handle of another kind was given.
func taking[O any](attach attacher) attacher {
	return func(p *BaseProgram, target string) (link.Link, error) {
		if own, ok := p.options.(*O); !ok && p.options != nil {
			return nil, fmt.Errorf("SetAttachOptions was given %T, and its section takes %T: call it on the handle in the skeleton's Progs", p.options, own)
		}
		return attach(p, target)
	}
}

func attachTracepoint(p *BaseProgram, target string) (link.Link, error) {
	category, name, _ := strings.Cut(target, "/")
	return tracepoint(p.Program(), category, name, optionsOf[TracepointOptions](p))
}

func tracepoint(prog *ebpf.Program, category, name string, o TracepointOptions) (link.Link, error) {
	if category == "" || name == "" {
		return nil, fmt.Errorf("tracepoint %q is incomplete: write <category>/<name>, as under /sys/kernel/tracing/events", strings.Trim(category+"/"+name, "/"))
	}
	event, err := perfevent.Tracepoint(category, name)
	event, err = openEvent(event, err, "tracepoints for programs", "CONFIG_PERF_EVENTS", privilege.Perfmon)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noTracepoint(category, name)
	}
	if err != nil {
		return nil, fmt.Errorf("tracepoint %s/%s: %w", category, name, err)
	}
	l, err := attachEvent(prog, event, o.Cookie, AttachDefault)
	return l, explainTracepoint(err, category, name)
}

// noTracepoint says that the kernel has no such tracepoint.
func noTracepoint(category, name string) error {
	return fmt.Errorf("the kernel has no tracepoint %s/%s: see the folder events of tracefs: %w", category, name, fs.ErrNotExist)
}

func attachRawTracepoint(p *BaseProgram, target string) (link.Link, error) {
	return rawTracepoint(p.Program(), target, optionsOf[RawTracepointOptions](p))
}

func rawTracepoint(prog *ebpf.Program, name string, o RawTracepointOptions) (l link.Link, err error) {
	if o.Cookie == 0 {
		l, err = link.AttachRawTracepoint(link.RawTracepointOptions{Name: name, Program: prog})
	} else {
		var fd int
		if fd, err = sys.RawTPOpen(prog.FD(), name, o.Cookie); err == nil {
			l, err = link.NewFromFD(fd)
		}
		runtime.KeepAlive(prog)
		err = lacking(err, option{true, "Cookie", "6.10"})
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, noRawTracepoint(name, err)
	case errors.Is(err, fs.ErrExist):
		return nil, fmt.Errorf("tracepoint %q has the program already, which kernels before 6.10 run once: %w", name, err)
	}
	return l, err
}

// noRawTracepoint says that the kernel has no such tracepoint.
func noRawTracepoint(name string, err error) error {
	return fmt.Errorf("tracepoint %q: the kernel has none of this name: %w", name, err)
}

// attachTracing needs no target: it was passed to the kernel with the program.
func attachTracing(p *BaseProgram, _ string) (link.Link, error) {
	return tracing(p, p.Program(), optionsOf[TracingOptions](p))
}

func tracing(p *BaseProgram, prog *ebpf.Program, o TracingOptions) (l link.Link, err error) {
	attach := p.def.AttachType
	switch {
	case attach == ebpf.AttachLSMMac:
		if err := inactiveLSM(); err != nil {
			return nil, err
		}
	case attach == ebpf.AttachTraceRawTp, attach == ebpf.AttachTraceFEntry, attach == ebpf.AttachTraceFExit, attach == ebpf.AttachModifyReturn:
	default:
		// AttachTracing knows no others, but the older call that None stands for attaches
		// a program to whatever it was loaded for.
		attach = ebpf.AttachNone
	}
	switch {
	case o.Cookie != 0:
		l, err = createLink(prog, sys.LinkCreateAttr[sys.TracingLink]{AttachType: uint32(p.def.AttachType), Kind: sys.TracingLink{Cookie: o.Cookie}})
		err = lacking(err, option{attach == ebpf.AttachTraceRawTp, "Cookie for SEC(\"tp_btf\")", "6.10"}, option{true, "Cookie", "5.19"})
	case attach == ebpf.AttachLSMMac:
		l, err = link.AttachLSM(link.LSMOptions{Program: prog})
	default:
		l, err = link.AttachTracing(link.TracingOptions{Program: prog, AttachType: attach})
	}
	return l, p.explainTrampoline(err)
}

func attachFreplace(p *BaseProgram, _ string) (link.Link, error) {
	return freplace(p, p.Program(), nil, "")
}

func freplace(p *BaseProgram, prog, target *ebpf.Program, function string) (link.Link, error) {
	switch {
	case target == nil && function != "":
		return nil, fmt.Errorf("target of function %q is nil: the target's skeleton is not loaded", function)
	case target != nil && function == "":
		return nil, errors.New("function is empty: name the one of the target that is to be replaced")
	}
	l, err := link.AttachFreplace(target, function, prog)
	return l, p.explainTrampoline(err)
}

func attachKprobe(p *BaseProgram, target string) (link.Link, error) {
	return kprobe(p, p.Program(), target, optionsOf[KprobeOptions](p))
}

// splitOffset parses "symbol" and "symbol+offset", the offset in bytes and in
// any base that C has.
func splitOffset(s string) (symbol string, offset uint64, err error) {
	symbol, num, ok := strings.Cut(s, "+")
	if symbol == "" {
		return "", 0, fmt.Errorf("target %q names no function", s)
	}
	if !ok {
		return symbol, 0, nil
	}
	offset, err = strconv.ParseUint(num, 0, 64)
	if err != nil {
		return "", 0, fmt.Errorf("target %q: offset %q is not a number: %w", s, num, errors.Unwrap(err))
	}
	return symbol, offset, nil
}

func attachSyscall(p *BaseProgram, target string) (link.Link, error) {
	return syscallProbe(p, p.Program(), target, optionsOf[SyscallOptions](p))
}

// syscallFunctions returns the names that the function of a system call may
// have, likely ones first: the wrapper where the architecture has them, and what
// SYSCALL_DEFINE makes elsewhere.
func syscallFunctions(name string) []string {
	names := []string{"__se_sys_" + name, "sys_" + name}
	if prefix := kallsyms.SyscallWrappers[runtime.GOARCH]; prefix != "" {
		names = slices.Insert(names, 0, prefix+"sys_"+name)
	}
	return names
}

func attachKprobeMulti(p *BaseProgram, target string) (link.Link, error) {
	return kprobeMulti(p, p.Program(), target, optionsOf[KprobeMultiOptions](p))
}

func kprobeMulti(p *BaseProgram, prog *ebpf.Program, pattern string, o KprobeMultiOptions) (link.Link, error) {
	opts := link.KprobeMultiOptions{Symbols: o.Symbols, Session: p.is(secdef.Session)}
	err := oneOf(choice{pattern != "", "the pattern"}, choice{len(o.Symbols) > 0, "option Symbols"}, choice{len(o.Addresses) > 0, "option Addresses"})
	if err != nil {
		return nil, err
	}
	if err := unordered(pattern, choice{len(o.Cookies) > 0, "option Cookies"}); err != nil {
		return nil, err
	}
	if pattern != "" {
		if opts.Addresses, err = kernelFunctions(pattern); err != nil {
			return nil, err
		}
	}
	for _, addr := range o.Addresses {
		opts.Addresses = append(opts.Addresses, uintptr(addr))
	}
	if opts.Cookies, err = cookies(max(len(opts.Symbols), len(opts.Addresses)), o.Cookie, o.Cookies); err != nil {
		return nil, err
	}
	if o.Return || p.is(secdef.Return) {
		if opts.Session {
			return nil, errSessionReturn
		}
		return link.KretprobeMulti(prog, opts)
	}
	return link.KprobeMulti(prog, opts)
}

var errSessionReturn = errors.New("option Return: a session runs at the entry and the return of functions")

// choice is one of several ways to say the same.
type choice struct {
	used bool
	name string
}

// oneOf returns an error unless exactly one of the choices is used.
func oneOf(choices ...choice) error {
	var used, all []string
	for _, c := range choices {
		all = append(all, c.name)
		if c.used {
			used = append(used, c.name)
		}
	}
	switch len(used) {
	case 0:
		return fmt.Errorf("no function is named: give %s", strings.Join(all, " or "))
	case 1:
		return nil
	}
	return fmt.Errorf("%s exclude each other", strings.Join(used, " and "))
}

// unordered returns an error when an option that has a value for each function is used with
// a pattern.
func unordered(pattern string, options ...choice) error {
	for _, o := range options {
		if o.used && pattern != "" {
			return fmt.Errorf("%s: which functions a pattern matches has no order: name the functions one by one", o.name)
		}
	}
	return nil
}

// cookies returns those of n functions, nil when they have none.
func cookies(n int, one uint64, each []uint64) ([]uint64, error) {
	switch {
	case len(each) > 0 && one != 0:
		return nil, errors.New("options Cookie and Cookies exclude each other")
	case len(each) > 0:
		return each, oneEach("Cookies", n, len(each))
	case one != 0:
		return slices.Repeat([]uint64{one}, n), nil
	}
	return nil, nil
}

// oneEach returns an error when an option has some values, and not one for each of n
// functions.
func oneEach(option string, n, have int) error {
	if have == 0 || have == n {
		return nil
	}
	return fmt.Errorf("option %s has %d values, and there are %d functions", option, have, n)
}

// splitUser splits "path:function".
func splitUser(target string) (path, function string, err error) {
	path, function, ok := strings.Cut(target, ":")
	if !ok || path == "" || function == "" {
		return "", "", fmt.Errorf("target %q is incomplete: write <path>:<function>", target)
	}
	return path, function, nil
}

func attachUprobe(p *BaseProgram, target string) (link.Link, error) {
	path, function, err := splitUser(target)
	if err != nil {
		return nil, err
	}
	return uprobe(p, p.Program(), path, function, optionsOf[UprobeOptions](p))
}

// uprobe attaches prog to symbol[+offset] or to an offset of a file.
func uprobe(p *BaseProgram, prog *ebpf.Program, path, target string, o UprobeOptions) (link.Link, error) {
	file, err := userelf.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	offset, hasOffset, err := file.Address(target)
	if err != nil {
		return nil, err
	}
	ret := o.Return || p.is(secdef.Return)
	if hasOffset && ret {
		return nil, fmt.Errorf("target %q: a uretprobe takes no offset", target)
	}
	return uprobeAt(prog, uprobePlace{path: file.Path, offset: offset, semaphore: o.RefCtrOffset, pid: o.PID, ret: ret, cookie: o.Cookie, mode: o.Mode})
}

func attachUprobeMulti(p *BaseProgram, target string) (link.Link, error) {
	path, pattern, err := splitUser(target)
	if err != nil {
		return nil, err
	}
	return uprobeMulti(p, p.Program(), path, pattern, optionsOf[UprobeMultiOptions](p))
}

func uprobeMulti(p *BaseProgram, prog *ebpf.Program, path, pattern string, o UprobeMultiOptions) (link.Link, error) {
	err := oneOf(choice{pattern != "", "the pattern"}, choice{len(o.Symbols) > 0, "option Symbols"}, choice{len(o.Offsets) > 0, "option Offsets"})
	if err != nil {
		return nil, err
	}
	err = unordered(pattern, choice{len(o.RefCtrOffsets) > 0, "option RefCtrOffsets"}, choice{len(o.Cookies) > 0, "option Cookies"})
	if err != nil {
		return nil, err
	}
	file, err := userelf.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var flags uint32
	if o.Return || p.is(secdef.Return) {
		if p.is(secdef.Session) {
			return nil, errSessionReturn
		}
		flags = 1 // BPF_F_UPROBE_MULTI_RETURN
	}
	offsets := o.Offsets
	if pattern != "" {
		if offsets, err = file.Matching(pattern); err != nil {
			return nil, err
		}
	}
	for _, symbol := range o.Symbols {
		offset, hasOffset, err := file.Address(symbol)
		if err != nil {
			return nil, err
		}
		if hasOffset && flags != 0 {
			return nil, fmt.Errorf("symbol %q: a uretprobe takes no offset", symbol)
		}
		offsets = append(offsets, offset)
	}
	if err := oneEach("RefCtrOffsets", len(offsets), len(o.RefCtrOffsets)); err != nil {
		return nil, err
	}
	values, err := cookies(len(offsets), o.Cookie, o.Cookies)
	if err != nil {
		return nil, err
	}
	l, err := createLink(prog, sys.LinkCreateAttr[sys.UprobeMultiLink]{
		AttachType: uint32(p.def.AttachType),
		Kind: sys.UprobeMultiLink{
			Path:          sys.CString(file.Path),
			Offsets:       sys.PointerToSlice(offsets),
			RefCtrOffsets: sys.PointerToSlice(o.RefCtrOffsets),
			Cookies:       sys.PointerToSlice(values),
			Count:         uint32(len(offsets)),
			Flags:         flags,
			PID:           uint32(o.PID),
		},
	})
	since := "6.6"
	if p.is(secdef.Session) {
		since = "6.13"
	}
	switch {
	case errors.Is(err, unix.EINVAL) && sys.OlderThan(since):
		return nil, fmt.Errorf("%s needs a kernel of version %s or later: %w: %w", p.section, since, ebpf.ErrNotSupported, err)
	case errors.Is(err, unix.ESRCH):
		return nil, fmt.Errorf("there is no process %d: %w", o.PID, err)
	}
	return l, err
}

func attachIter(p *BaseProgram, _ string) (link.Link, error) {
	return iterator(p.Program(), optionsOf[IterOptions](p))
}

func attachUSDT(p *BaseProgram, target string) (link.Link, error) {
	parts := strings.Split(target, ":")
	if len(parts) != 3 || slices.Contains(parts, "") {
		return nil, fmt.Errorf("target %q is incomplete: write <path>:<provider>:<name>", target)
	}
	return p.owner.usdt(p, p.Program(), parts[0], parts[1], parts[2], optionsOf[USDTOptions](p))
}
