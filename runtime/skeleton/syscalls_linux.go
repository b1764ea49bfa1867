package skeleton

import (
	"fmt"
	"runtime"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// createLink returns the link of prog that attr describes, of a kind that package link
// cannot make with all of its options.
func createLink[K any](prog *ebpf.Program, attr sys.LinkCreateAttr[K]) (link.Link, error) {
	attr.ProgFD = uint32(prog.FD())
	fd, err := sys.LinkCreate(&attr)
	runtime.KeepAlive(prog)
	if err != nil {
		return nil, fmt.Errorf("create link: %w", err)
	}
	return link.NewFromFD(fd)
}

// iterLink attaches prog to what info, a union bpf_iter_link_info, says.
func iterLink(prog *ebpf.Program, info []uint32) (link.Link, error) {
	return createLink(prog, sys.LinkCreateAttr[sys.IterLink]{
		AttachType: uint32(ebpf.AttachTraceIter),
		Kind:       sys.IterLink{Info: sys.PointerToSlice(info), Size: uint32(4 * len(info))},
	})
}
