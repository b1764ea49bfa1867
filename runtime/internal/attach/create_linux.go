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

// option is an option that not all kernels have.
type option struct {
	used        bool
	name, since string
}

// lacking names the options of a failed call that the kernel is too old for.
func lacking(err error, options ...option) error {
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.E2BIG) && !errors.Is(err, ebpf.ErrNotSupported) && !errors.Is(err, sys.ENOTSUPP) && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	for _, o := range options {
		if o.used && sys.OlderThan(o.since) {
			return fmt.Errorf("option %s needs a kernel of version %s or later: %w: %w", o.name, o.since, ebpf.ErrNotSupported, err)
		}
	}
	return err
}

// replace puts prog into a link, in place of its program, and returns another descriptor of the
// link. kind is the type that the link must have, and fits reports whether it is on the right
// target.
func replace(prog *ebpf.Program, old link.Link, kind link.Type, fits func(*link.Info) bool) (link.Link, error) {
	const what = "option Replace"
	fd, ok := old.(interface{ FD() int })
	if !ok || fd.FD() < 0 {
		return nil, fmt.Errorf("%s: it is closed, or the kernel has no link for it", what)
	}
	own, err := sys.Dup(fd.FD())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	l, err := link.NewFromFD(own)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	info, err := l.Info()
	switch {
	case err != nil:
	case info.Type != kind:
		err = errors.New("it is a link of another kind")
	case !fits(info):
		err = errors.New("it is a link of another target")
	default:
		err = l.Update(prog)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", what, err), l.Close())
	}
	return l, nil
}
