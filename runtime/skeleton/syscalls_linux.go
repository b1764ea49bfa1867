package skeleton

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

const (
	errBusy    = unix.EBUSY
	errInvalid = unix.EINVAL
)

// linkCreate is union bpf_attr of linux/bpf.h as BPF_LINK_CREATE takes it, for
// the kinds of links that package link cannot make.
type linkCreate struct {
	progFD     uint32
	targetFD   uint32
	attachType uint32
	flags      uint32
	// kind has the bytes that depend on the kind of link.
	kind [6]uint64
}

// bpfLinkCreate is BPF_LINK_CREATE of enum bpf_cmd.
const bpfLinkCreate = 28

// create returns the link that attr describes.
func (attr *linkCreate) create(prog *ebpf.Program) (link.Link, error) {
	attr.progFD = uint32(prog.FD())
	fd, _, errno := unix.Syscall(unix.SYS_BPF, bpfLinkCreate, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
	runtime.KeepAlive(prog)
	if errno != 0 {
		return nil, fmt.Errorf("create link: %w", errno)
	}
	return link.NewFromFD(int(fd))
}

// uprobeSession attaches p to the entry and the return of functions, which are
// given by their offsets in the file.
func uprobeSession(p *Program, path string, offsets []uint64, pid int) (link.Link, error) {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return nil, err
	}
	attr := linkCreate{attachType: uint32(p.spec.AttachType)}
	// struct uprobe_multi in union bpf_attr.
	multi := (*struct {
		path, offsets, refCtrOffsets, cookies uint64
		count, flags, pid                     uint32
	})(unsafe.Pointer(&attr.kind))
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(name)
	pin.Pin(&offsets[0])
	multi.path = uint64(uintptr(unsafe.Pointer(name)))
	multi.offsets = uint64(uintptr(unsafe.Pointer(&offsets[0])))
	multi.count = uint32(len(offsets))
	multi.pid = uint32(pid)
	l, err := attr.create(p.Program())
	if errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("uprobe.session needs a kernel of version 6.13 or later: %w", err)
	}
	return l, err
}

// iterLink attaches prog to what info, a union bpf_iter_link_info, says.
func iterLink(prog *ebpf.Program, info []uint32) (link.Link, error) {
	attr := linkCreate{attachType: uint32(ebpf.AttachTraceIter)}
	iter := (*struct {
		info uint64
		size uint32
	})(unsafe.Pointer(&attr.kind))
	if len(info) > 0 {
		var pin runtime.Pinner
		defer pin.Unpin()
		pin.Pin(&info[0])
		iter.info = uint64(uintptr(unsafe.Pointer(&info[0])))
		iter.size = uint32(4 * len(info))
	}
	return attr.create(prog)
}
