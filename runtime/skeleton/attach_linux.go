package skeleton

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/link"
)

// attachers has a function for every kind of section, its name up to the first
// slash, whose programs attach automatically.
var attachers = map[string]attachFunc{
	"tp":               attachTracepoint,
	"tracepoint":       attachTracepoint,
	"raw_tp":           attachRawTracepoint,
	"raw_tp.w":         attachRawTracepoint,
	"raw_tracepoint":   attachRawTracepoint,
	"raw_tracepoint.w": attachRawTracepoint,
	"tp_btf":           attachTracing,
	"fentry":           attachTracing,
	"fentry.s":         attachTracing,
	"fexit":            attachTracing,
	"fexit.s":          attachTracing,
	"fmod_ret":         attachTracing,
	"fmod_ret.s":       attachTracing,
	"kprobe":           attachKprobe,
	"kretprobe":        attachKretprobe,
	"uprobe":           attachUprobe,
	"uprobe.s":         attachUprobe,
	"uretprobe":        attachUretprobe,
	"uretprobe.s":      attachUretprobe,
}

func attachTracepoint(p *Program, target string) (link.Link, error) {
	if target == "" {
		return nil, nil
	}
	group, name, ok := strings.Cut(target, "/")
	if !ok || group == "" || name == "" {
		return nil, fmt.Errorf("tracepoint %q is incomplete: write <category>/<name>, as under /sys/kernel/tracing/events", target)
	}
	return link.Tracepoint(group, name, p.Program(), nil)
}

func attachRawTracepoint(p *Program, target string) (link.Link, error) {
	if target == "" {
		return nil, nil
	}
	return link.AttachRawTracepoint(link.RawTracepointOptions{Name: target, Program: p.Program()})
}

// attachTracing needs no target: the kernel was told it when it loaded the
// program.
func attachTracing(p *Program, _ string) (link.Link, error) {
	return link.AttachTracing(link.TracingOptions{Program: p.Program(), AttachType: p.spec.AttachType})
}

func attachKprobe(p *Program, target string) (link.Link, error) {
	if target == "" {
		return nil, nil
	}
	symbol, offset, err := splitOffset(target)
	if err != nil {
		return nil, err
	}
	return link.Kprobe(symbol, p.Program(), &link.KprobeOptions{Offset: offset})
}

func attachKretprobe(p *Program, target string) (link.Link, error) {
	if target == "" {
		return nil, nil
	}
	symbol, offset, err := splitOffset(target)
	if err != nil {
		return nil, err
	}
	if offset != 0 {
		// libbpf refuses it as well: a return probe fires at no offset.
		return nil, fmt.Errorf("target %q: a kretprobe takes no offset", target)
	}
	return link.Kretprobe(symbol, p.Program(), nil)
}

func attachUprobe(p *Program, target string) (link.Link, error) {
	return attachUserProbe(target, func(ex *link.Executable, symbol string, opts *link.UprobeOptions) (link.Link, error) {
		return ex.Uprobe(symbol, p.Program(), opts)
	})
}

func attachUretprobe(p *Program, target string) (link.Link, error) {
	return attachUserProbe(target, func(ex *link.Executable, symbol string, opts *link.UprobeOptions) (link.Link, error) {
		if opts.Offset != 0 {
			return nil, fmt.Errorf("target %q: a uretprobe takes no offset", target)
		}
		return ex.Uretprobe(symbol, p.Program(), opts)
	})
}

func attachUserProbe(target string, attach func(*link.Executable, string, *link.UprobeOptions) (link.Link, error)) (link.Link, error) {
	if target == "" {
		return nil, nil
	}
	path, function, ok := strings.Cut(target, ":")
	if !ok {
		// "uprobe/<path>" alone names no function; libbpf skips it.
		return nil, nil
	}
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("path %q is not absolute: write <kind>//absolute/path:<function>", path)
	}
	symbol, offset, err := splitOffset(function)
	if err != nil {
		return nil, err
	}
	ex, err := link.OpenExecutable(path)
	if err != nil {
		return nil, err
	}
	return attach(ex, symbol, &link.UprobeOptions{Offset: offset})
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
