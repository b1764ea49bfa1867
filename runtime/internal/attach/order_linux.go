package attach

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// Flags of BPF_LINK_CREATE, BPF_F_* of linux/bpf.h.
const (
	flagBefore   = 1 << 3
	flagAfter    = 1 << 4
	flagID       = 1 << 5
	flagPreorder = 1 << 6
	flagLink     = 1 << 13
)

// isSet reports whether the options ask for a position among other programs.
func (o Position) isSet() bool {
	return o.Before != nil || o.After != nil || o.ExpectedRevision != 0
}

// connect connects prog to a hook of a target, which is a descriptor or an index, at its
// position. flags are further flags of BPF_LINK_CREATE.
func (o Position) connect(prog *ebpf.Program, target int, attach ebpf.AttachType, flags uint32) (link.Link, error) {
	attr := sys.LinkCreateAttr[sys.PlacedLink]{
		TargetFD:   uint32(target),
		AttachType: uint32(attach),
		Flags:      flags,
		Kind:       sys.PlacedLink{ExpectedRevision: o.ExpectedRevision},
	}
	anchor := o.Before
	switch {
	case o.Before != nil && o.After != nil:
		return nil, errors.New("options Before and After exclude each other")
	case o.Before != nil:
		attr.Flags |= flagBefore
	case o.After != nil:
		attr.Flags |= flagAfter
		anchor = o.After
	}
	if anchor != nil {
		number, flags, err := anchor.encode()
		if err != nil {
			return nil, err
		}
		attr.Kind.Relative = number
		attr.Flags |= flags
	}
	l, err := createLink(prog, attr)
	runtime.KeepAlive(anchor)
	return l, err
}

// encode returns the descriptor or ID of the anchor, and the flags that say which it is.
func (a *Anchor) encode() (number, flags uint32, err error) {
	set := 0
	if a.Link != nil {
		set++
		fd, ok := a.Link.(interface{ FD() int })
		if !ok || fd.FD() < 0 {
			return 0, 0, errors.New("anchor: the link is closed, or the kernel has no link for it")
		}
		number, flags = uint32(fd.FD()), flagLink
	}
	if a.LinkID != 0 {
		set++
		number, flags = uint32(a.LinkID), flagLink|flagID
	}
	if a.Program != nil {
		set++
		if a.Program.FD() < 0 {
			return 0, 0, errors.New("anchor: the program is closed")
		}
		number = uint32(a.Program.FD())
	}
	if a.ProgramID != 0 {
		set++
		number, flags = uint32(a.ProgramID), flagID
	}
	if set > 1 {
		return 0, 0, errors.New("anchor: has more than one of Link, LinkID, Program and ProgramID")
	}
	return number, flags, nil
}

// replace is the function replace for option Replace of a link on an interface, which keeps its
// position.
func (o Position) replace(prog *ebpf.Program, kind link.Type, fits func(*link.Info) bool) (link.Link, error) {
	if o.isSet() {
		return nil, errors.New("option Replace keeps the position of the link: it excludes Before, After and ExpectedRevision")
	}
	return replace(prog, o.Replace, kind, fits)
}

// explainOrder explains what the kernel's answer to a position among programs means.
func explainOrder(err error) error {
	switch {
	case errors.Is(err, unix.ESTALE):
		return fmt.Errorf("the programs of the hook have changed since ExpectedRevision: %w", err)
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("the program is attached there already: %w", err)
	}
	return err
}
