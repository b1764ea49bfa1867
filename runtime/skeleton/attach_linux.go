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
)

// attachers has every kind of section, its name up to the first slash, whose programs
// attach automatically.
var attachers map[string]attacher

func init() {
	// Not in the declaration: the functions use the table.
	attachers = map[string]attacher{
		"tp":                {attach: attachTracepoint, byHand: "AttachTracepoint"},
		"tp.s":              {attach: attachTracepoint, byHand: "AttachTracepoint"},
		"tracepoint":        {attach: attachTracepoint, byHand: "AttachTracepoint"},
		"tracepoint.s":      {attach: attachTracepoint, byHand: "AttachTracepoint"},
		"raw_tp":            {attach: attachRawTracepoint, byHand: "AttachRawTracepoint"},
		"raw_tp.s":          {attach: attachRawTracepoint, byHand: "AttachRawTracepoint"},
		"raw_tp.w":          {attach: attachRawTracepoint, byHand: "AttachRawTracepoint"},
		"raw_tracepoint":    {attach: attachRawTracepoint, byHand: "AttachRawTracepoint"},
		"raw_tracepoint.s":  {attach: attachRawTracepoint, byHand: "AttachRawTracepoint"},
		"raw_tracepoint.w":  {attach: attachRawTracepoint, byHand: "AttachRawTracepoint"},
		"tp_btf":            {attach: attachTracing},
		"tp_btf.s":          {attach: attachTracing},
		"fentry":            {attach: attachTracing},
		"fentry.s":          {attach: attachTracing},
		"fexit":             {attach: attachTracing},
		"fexit.s":           {attach: attachTracing},
		"fmod_ret":          {attach: attachTracing},
		"fmod_ret.s":        {attach: attachTracing},
		"fsession":          {attach: attachTracing},
		"fsession.s":        {attach: attachTracing},
		"freplace":          {attach: attachFreplace},
		"lsm":               {attach: attachLSM},
		"lsm.s":             {attach: attachLSM},
		"iter":              {attach: attachIter},
		"iter.s":            {attach: attachIter},
		"kprobe":            {attach: attachKprobe, byHand: "AttachKprobe"},
		"kretprobe":         {attach: attachKprobe, byHand: "AttachKprobe"},
		"kprobe.multi":      {attach: attachKprobeMulti, byHand: "AttachKprobes"},
		"kretprobe.multi":   {attach: attachKprobeMulti, byHand: "AttachKprobes"},
		"kprobe.session":    {attach: attachKprobeMulti, byHand: "AttachKprobes"},
		"ksyscall":          {attach: attachSyscall, byHand: "AttachSyscall"},
		"kretsyscall":       {attach: attachSyscall, byHand: "AttachSyscall"},
		"uprobe":            {attach: attachUprobe, byHand: "AttachUprobe"},
		"uprobe.s":          {attach: attachUprobe, byHand: "AttachUprobe"},
		"uretprobe":         {attach: attachUprobe, byHand: "AttachUprobe"},
		"uretprobe.s":       {attach: attachUprobe, byHand: "AttachUprobe"},
		"uprobe.multi":      {attach: attachUprobeMulti, byHand: "AttachUprobes"},
		"uprobe.multi.s":    {attach: attachUprobeMulti, byHand: "AttachUprobes"},
		"uretprobe.multi":   {attach: attachUprobeMulti, byHand: "AttachUprobes"},
		"uretprobe.multi.s": {attach: attachUprobeMulti, byHand: "AttachUprobes"},
		"uprobe.session":    {attach: attachUprobeMulti, byHand: "AttachUprobes"},
		"uprobe.session.s":  {attach: attachUprobeMulti, byHand: "AttachUprobes"},
		"usdt":              {attach: attachUSDT, byHand: "AttachUSDT"},
		"usdt.s":            {attach: attachUSDT, byHand: "AttachUSDT"},
	}
}

// isReturn says whether the program runs when a function returns.
func (p *Program) isReturn() bool {
	kind, _ := p.kindAndTarget()
	return strings.HasPrefix(kind, "kret") || strings.HasPrefix(kind, "uret")
}

func attachTracepoint(p *Program, target string) (link.Link, error) {
	category, name, _ := strings.Cut(target, "/")
	return tracepoint(p.Program(), category, name)
}

func tracepoint(prog *ebpf.Program, category, name string) (link.Link, error) {
	if category == "" || name == "" {
		return nil, fmt.Errorf("tracepoint %q is incomplete: write <category>/<name>, as under /sys/kernel/tracing/events", strings.Trim(category+"/"+name, "/"))
	}
	return link.Tracepoint(category, name, prog, nil)
}

func attachRawTracepoint(p *Program, target string) (link.Link, error) {
	return rawTracepoint(p.Program(), target)
}

func rawTracepoint(prog *ebpf.Program, name string) (link.Link, error) {
	l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: name, Program: prog})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("tracepoint %q: the kernel has none of this name: %w", name, err)
	}
	return l, err
}

// attachTracing needs no target: the kernel was told it when it loaded the
// program.
func attachTracing(p *Program, _ string) (link.Link, error) {
	attach := p.spec.AttachType
	if attach == attachFSession {
		// AttachTracing knows no sessions, but the older call that None stands for
		// attaches a program to whatever it was loaded for.
		attach = ebpf.AttachNone
	}
	return link.AttachTracing(link.TracingOptions{Program: p.Program(), AttachType: attach})
}

func attachFreplace(p *Program, _ string) (link.Link, error) {
	return link.AttachFreplace(nil, "", p.Program())
}

func attachLSM(p *Program, _ string) (link.Link, error) {
	l, err := link.AttachLSM(link.LSMOptions{Program: p.Program()})
	return l, needsActiveLSM(err)
}

// needsActiveLSM adds to an error of attaching to a hook what may be the cause of it.
func needsActiveLSM(err error) error {
	if errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, errBusy) {
		return fmt.Errorf("%w: see that \"bpf\" is in the kernel's parameter lsm=, as /sys/kernel/security/lsm shows it", err)
	}
	return err
}

func attachKprobe(p *Program, target string) (link.Link, error) {
	return kprobe(p.Program(), target, p.isReturn())
}

// kprobe attaches prog to symbol[+offset].
func kprobe(prog *ebpf.Program, target string, ret bool) (link.Link, error) {
	symbol, offset, err := splitOffset(target)
	switch {
	case err != nil:
		return nil, err
	case !ret:
		return link.Kprobe(symbol, prog, &link.KprobeOptions{Offset: offset})
	case offset != 0:
		// libbpf refuses it as well: a return probe fires at no offset.
		return nil, fmt.Errorf("target %q: a kretprobe takes no offset", target)
	}
	return link.Kretprobe(symbol, prog, nil)
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

func attachSyscall(p *Program, target string) (link.Link, error) {
	return syscallProbe(p.Program(), target, p.isReturn())
}

// syscallProbe attaches prog to the function that serves the system call.
func syscallProbe(prog *ebpf.Program, name string, ret bool) (link.Link, error) {
	for _, symbol := range syscallFunctions(name) {
		l, err := kprobe(prog, symbol, ret)
		// EINVAL: a return probe, before 5.11.
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errInvalid) {
			continue
		}
		return l, err
	}
	return nil, fmt.Errorf("system call %q: the kernel has none of %s: %w", name, strings.Join(syscallFunctions(name), ", "), fs.ErrNotExist)
}

// syscallFunctions returns the names that the function of a system call may
// have, likely ones first: the wrapper where the architecture has them, and what
// SYSCALL_DEFINE makes elsewhere.
func syscallFunctions(name string) []string {
	names := []string{"__se_sys_" + name, "sys_" + name}
	if prefix := syscallWrappers[runtime.GOARCH]; prefix != "" {
		names = slices.Insert(names, 0, prefix+"sys_"+name)
	}
	return names
}

func attachKprobeMulti(p *Program, target string) (link.Link, error) {
	return kprobeMulti(p, target)
}

func kprobeMulti(p *Program, patterns ...string) (link.Link, error) {
	globs, err := compileGlobs(patterns)
	if err != nil {
		return nil, err
	}
	addrs, err := kernelFunctions(globs)
	if err != nil {
		return nil, err
	}
	opts := link.KprobeMultiOptions{Addresses: addrs}
	kind, _ := p.kindAndTarget()
	switch kind {
	case "kretprobe.multi":
		return link.KretprobeMulti(p.Program(), opts)
	case "kprobe.session":
		opts.Session = true
	}
	return link.KprobeMulti(p.Program(), opts)
}

// splitUser splits "path:function".
func splitUser(target string) (path, function string, err error) {
	path, function, ok := strings.Cut(target, ":")
	if !ok || path == "" || function == "" {
		return "", "", fmt.Errorf("target %q is incomplete: write <path>:<function>", target)
	}
	return path, function, nil
}

func attachUprobe(p *Program, target string) (link.Link, error) {
	path, function, err := splitUser(target)
	if err != nil {
		return nil, err
	}
	return uprobe(p, path, function, 0)
}

// uprobe attaches p to symbol[+offset] of a file; a pid of 0 means all processes.
func uprobe(p *Program, path, target string, pid int) (link.Link, error) {
	file, err := openUserELF(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	offset, hasOffset, err := file.address(target)
	if err != nil {
		return nil, err
	}
	ex, err := link.OpenExecutable(file.path)
	if err != nil {
		return nil, err
	}
	opts := &link.UprobeOptions{Address: offset, PID: pid}
	if !p.isReturn() {
		return ex.Uprobe("", p.Program(), opts)
	}
	if hasOffset {
		return nil, fmt.Errorf("target %q: a uretprobe takes no offset", target)
	}
	return ex.Uretprobe("", p.Program(), opts)
}

func attachUprobeMulti(p *Program, target string) (link.Link, error) {
	path, pattern, err := splitUser(target)
	if err != nil {
		return nil, err
	}
	return uprobeMulti(p, path, pattern, 0)
}

func uprobeMulti(p *Program, path, pattern string, pid int) (link.Link, error) {
	file, err := openUserELF(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	offsets, err := file.matching(pattern)
	if err != nil {
		return nil, err
	}
	kind, _ := p.kindAndTarget()
	if strings.HasPrefix(kind, "uprobe.session") {
		return uprobeSession(p, file.path, offsets, pid)
	}
	ex, err := link.OpenExecutable(file.path)
	if err != nil {
		return nil, err
	}
	opts := &link.UprobeMultiOptions{Addresses: offsets, PID: uint32(pid)}
	if p.isReturn() {
		return ex.UretprobeMulti(nil, p.Program(), opts)
	}
	return ex.UprobeMulti(nil, p.Program(), opts)
}

func attachIter(p *Program, _ string) (link.Link, error) {
	return link.AttachIter(link.IterOptions{Program: p.Program()})
}

func attachUSDT(p *Program, target string) (link.Link, error) {
	parts := strings.Split(target, ":")
	if len(parts) != 3 || slices.Contains(parts, "") {
		return nil, fmt.Errorf("target %q is incomplete: write <path>:<provider>:<name>", target)
	}
	return p.owner.usdt(p, parts[0], parts[1], parts[2], 0)
}
