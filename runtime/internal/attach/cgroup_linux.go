package attach

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// Cgroup connects p to a cgroup, by the path of its directory.
func Cgroup(p *Program, path string, attach ebpf.AttachType, o CgroupOptions) (link.Link, error) {
	if attach == ebpf.AttachLSMCgroup {
		if err := inactiveLSM(); err != nil {
			return nil, err
		}
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	l, err := cgroupLink(p.Program, dir, attach, o)
	switch {
	case errors.Is(err, unix.EBADF):
		return nil, noCgroup(err, path)
	case errors.Is(err, unix.EPERM) && o.Mode != CgroupMulti:
		return nil, fmt.Errorf("%s: it, or one above it, has programs of another mode than option Mode says, or the right to attach is missing: %w", path, err)
	}
	err = lacking(explainOrder(err), option{o.Before != nil, "Before", "6.17"}, option{o.After != nil, "After", "6.17"}, option{o.Preorder, "Preorder", "6.17"})
	if attach == ebpf.AttachLSMCgroup {
		err = p.explainTrampoline(err)
	}
	return l, err
}

// cgroupLink attaches prog to an open cgroup.
func cgroupLink(prog *ebpf.Program, dir *os.File, attach ebpf.AttachType, o CgroupOptions) (link.Link, error) {
	placed := o.isSet() || o.Preorder
	if o.Replace != nil {
		if placed || o.Mode != CgroupMulti {
			return nil, errors.New("option Replace keeps the position of the link: it excludes all other options")
		}
		id, err := cgroupID(dir)
		if err != nil {
			return nil, err
		}
		return replace(prog, o.Replace, link.CgroupType, func(info *link.Info) bool {
			cgroup := info.Cgroup()
			return cgroup.CgroupId == id && uint32(cgroup.AttachType) == uint32(attach)
		})
	}
	if o.Mode != CgroupMulti {
		if placed {
			return nil, errors.New("only programs of mode CgroupMulti have a position: Before, After, Preorder and ExpectedRevision are for them")
		}
		return cgroupWithoutLink(prog, dir, attach, o.Mode)
	}
	if o.ExpectedRevision != 0 {
		// A kernel without the option would ignore it.
		now, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: attach})
		if err != nil {
			return nil, err
		}
		if now.Revision == 0 {
			return nil, fmt.Errorf("option ExpectedRevision needs a kernel of version 6.17 or later: %w", ebpf.ErrNotSupported)
		}
	}
	var flags uint32
	if o.Preorder {
		flags = flagPreorder
	}
	return o.connect(prog, int(dir.Fd()), attach, flags)
}

// cgroupID returns the kernel's ID of a cgroup, which is that of its directory.
func cgroupID(dir *os.File) (uint64, error) {
	handle, _, err := unix.NameToHandleAt(int(dir.Fd()), "", unix.AT_EMPTY_PATH)
	if err != nil {
		return 0, noCgroup(fmt.Errorf("ID of the cgroup: %w", err), dir.Name())
	}
	if handle.Size() != 8 {
		return 0, noCgroup(unix.EBADF, dir.Name())
	}
	return binary.NativeEndian.Uint64(handle.Bytes()), nil
}

// cgroupWithoutLink attaches prog to a cgroup that takes one program, for which the kernel
// has no link.
func cgroupWithoutLink(prog *ebpf.Program, dir *os.File, attach ebpf.AttachType, mode CgroupMode) (link.Link, error) {
	var flags uint32
	if mode == CgroupOverride {
		flags = 1 // BPF_F_ALLOW_OVERRIDE
	}
	own, err := sys.Dup(int(dir.Fd()))
	if err != nil {
		return nil, err
	}
	// The link may be closed after the skeleton.
	prog, err = prog.Clone()
	if err != nil {
		return nil, errors.Join(err, sys.Close(own))
	}
	if err := link.RawAttachProgram(link.RawAttachProgramOptions{Target: own, Program: prog, Attach: attach, Flags: flags}); err != nil {
		return nil, errors.Join(err, prog.Close(), sys.Close(own))
	}
	return &ownLink{what: "a program of a cgroup that takes one", detach: func() error {
		err := link.RawDetachProgram(link.RawDetachProgramOptions{Target: own, Program: prog, Attach: attach})
		return errors.Join(err, prog.Close(), sys.Close(own))
	}}, nil
}
