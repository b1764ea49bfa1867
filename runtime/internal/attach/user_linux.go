package attach

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/runtime/internal/perfevent"
	"github.com/rules-bpf/rules_bpf/runtime/internal/privilege"
	"github.com/rules-bpf/rules_bpf/runtime/internal/refusal"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
	"github.com/rules-bpf/rules_bpf/runtime/internal/usersym"
)

// Uprobe connects p to symbol[+offset] or to an offset of a file.
func Uprobe(p *Program, path, target string, o UprobeOptions) (link.Link, error) {
	file, err := usersym.Open(path)
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
	return uprobeAt(p.Program, uprobeTarget{path: file.Path, offset: offset, semaphore: o.RefCtrOffset, pid: o.PID, ret: ret, cookie: o.Cookie, mode: o.Mode})
}

// UprobeMulti connects p to all locations in a file that a pattern or the options name.
func UprobeMulti(p *Program, path, pattern string, o UprobeMultiOptions) (link.Link, error) {
	err := oneOf(choice{pattern != "", "the pattern"}, choice{len(o.Symbols) > 0, "option Symbols"}, choice{len(o.Offsets) > 0, "option Offsets"})
	if err != nil {
		return nil, err
	}
	err = unordered(pattern, choice{len(o.RefCtrOffsets) > 0, "option RefCtrOffsets"}, choice{len(o.Cookies) > 0, "option Cookies"})
	if err != nil {
		return nil, err
	}
	file, err := usersym.Open(path)
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
	l, err := createLink(p.Program, sys.LinkCreateAttr[sys.UprobeMultiLink]{
		AttachType: uint32(p.AttachType),
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
		return nil, fmt.Errorf("%s needs a kernel of version %s or later: %w: %w", p.Section, since, ebpf.ErrNotSupported, err)
	case errors.Is(err, unix.ESRCH):
		return nil, fmt.Errorf("there is no process %d: %w", o.PID, err)
	case errors.Is(err, unix.EINVAL):
		for _, offset := range offsets {
			if why := unaligned(offset); why != "" {
				return nil, refusal.Advise(fmt.Errorf("%s: offset %#x: %w", file.Path, offset, err), why)
			}
		}
	}
	return l, err
}

// uprobeTarget is where a uprobe goes.
type uprobeTarget struct {
	path string
	// offset and semaphore are offsets in the file; semaphore is 0 if there is none.
	offset, semaphore uint64
	// pid is the process, 0 for all.
	pid int
	// ret is for the return of the function at offset.
	ret bool
	// cookie needs kernel 5.15.
	cookie uint64
	mode   Mode
}

func uprobeAt(prog *ebpf.Program, at uprobeTarget) (link.Link, error) {
	event, err := perfevent.Uprobe(at.path, at.offset, at.semaphore, at.pid, at.ret)
	event, err = openEvent(event, err, "uprobes", "CONFIG_UPROBE_EVENTS", privilege.SysAdmin)
	switch {
	case errors.Is(err, unix.ESRCH):
		return nil, fmt.Errorf("there is no process %d: %w", at.pid, err)
	case errors.Is(err, sys.ENOTSUPP):
		return nil, fmt.Errorf("%s: the instruction at offset %#x cannot be probed, it may be a breakpoint: %w", at.path, at.offset, err)
	case err != nil:
		err = fmt.Errorf("%s: offset %#x: %w", at.path, at.offset, err)
		if errors.Is(err, unix.EINVAL) {
			err = refusal.Advise(err, unaligned(at.offset))
		}
		return nil, err
	}
	return attachEvent(prog, event, at.cookie, at.mode)
}

// instructionSizes are what the offsets of instructions are multiples of, by GOARCH, where it
// is not 1: UPROBE_SWBP_INSN_SIZE of the kernel.
var instructionSizes = map[string]uint64{
	"arm": 4, "arm64": 4, "loong64": 4, "mips": 4, "mipsle": 4, "mips64": 4, "mips64le": 4,
	"ppc64": 4, "ppc64le": 4, "riscv64": 2, "s390x": 2,
}

// unaligned explains why no instruction of this CPU begins at an offset. It is empty when one may.
func unaligned(offset uint64) string {
	size := instructionSizes[runtime.GOARCH]
	if size == 0 || offset%size == 0 {
		return ""
	}
	return fmt.Sprintf("no instruction begins there, as on this CPU (%s) they begin at multiples of %d: give the offset of an instruction in the file for this CPU", runtime.GOARCH, size)
}
