package attach

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/internal/tc"
)

// TC connects p to the packets of a network interface that go in the direction which attach
// says: that of TCX, for clsact too.
func TC(p *Program, ifindex int, attach ebpf.AttachType, o TCOptions) (link.Link, error) {
	if err := CheckIfindex(ifindex); err != nil {
		return nil, err
	}
	if attach != ebpf.AttachTCXIngress && attach != ebpf.AttachTCXEgress {
		return nil, errors.New("SEC() names no direction: give TCIngress or TCEgress")
	}
	if o.Replace != nil {
		return replaceTC(p.Program, ifindex, attach, o)
	}
	switch o.Mode {
	case TCClsact:
		return clsact(p, ifindex, attach, o)
	case TCAuto, TCX:
	default:
		return nil, fmt.Errorf("option Mode is %d: give TCAuto, TCX or TCClsact", int(o.Mode))
	}
	if o.Mode == TCX && (o.Priority != 0 || o.Handle != 0) {
		return nil, errors.New("options Priority and Handle are for clsact: give Before or After for TCX")
	}
	l, err := o.connect(p.Program, ifindex, attach, 0)
	if !lacksTCX(err, ifindex, attach) {
		return l, explainInterface(explainOrder(err), ifindex)
	}
	if o.Mode == TCX {
		return nil, fmt.Errorf("TCX needs a kernel of version 6.6 or later, with CONFIG_NET_XGRESS: give option Mode TCAuto, which attaches to a clsact qdisc there: %w: %w", ebpf.ErrNotSupported, err)
	}
	return clsact(p, ifindex, attach, o)
}

// lacksTCX reports whether an attempt to attach failed because the kernel has no TCX.
func lacksTCX(err error, ifindex int, attach ebpf.AttachType) bool {
	// EINVAL is also the answer to arguments that the kernel refuses, such as an anchor.
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.E2BIG) {
		return false
	}
	_, err = link.QueryPrograms(link.QueryOptions{Target: ifindex, Attach: attach})
	return errors.Is(err, unix.EINVAL) || errors.Is(err, ebpf.ErrNotSupported)
}

// replaceTC puts prog into the link of option Replace, in place of its program.
func replaceTC(prog *ebpf.Program, ifindex int, attach ebpf.AttachType, o TCOptions) (link.Link, error) {
	if o.Priority != 0 || o.Handle != 0 {
		return nil, errors.New("option Replace keeps the position of the link: it excludes Priority and Handle")
	}
	old := filterOf(o.Replace)
	if old == nil {
		if o.Mode == TCClsact {
			return nil, errors.New("option Replace: it is a link of TCX, and option Mode is TCClsact")
		}
		return o.replace(prog, link.TCXType, func(info *link.Info) bool {
			tcx := info.TCX()
			return int64(tcx.Ifindex) == int64(ifindex) && uint32(tcx.AttachType) == uint32(attach)
		})
	}
	location := old.filter.Location()
	switch {
	case o.Mode == TCX:
		return nil, errors.New("option Replace: it is a link of clsact, and option Mode is TCX")
	case o.isSet():
		return nil, errors.New("option Replace keeps the position of the link: it excludes Before, After and ExpectedRevision")
	case old.Closed():
		return nil, errors.New("option Replace: it is closed")
	case int64(location.Ifindex) != int64(ifindex) || location.Egress != (attach == ebpf.AttachTCXEgress):
		return nil, errors.New("option Replace: it is a link of another target")
	}
	if err := old.Update(prog); err != nil {
		return nil, fmt.Errorf("option Replace: %w", err)
	}
	old.filter.Share()
	return newFilterLink(old.filter), nil
}

// clsact attaches prog by a filter of a clsact qdisc.
func clsact(p *Program, ifindex int, attach ebpf.AttachType, o TCOptions) (link.Link, error) {
	switch placed := o.Before != nil || o.After != nil; {
	case o.ExpectedRevision != 0:
		return nil, fmt.Errorf("option ExpectedRevision needs TCX, which came with kernel 6.6: %w", ebpf.ErrNotSupported)
	case placed && (o.Mode == TCClsact || o.Priority == 0):
		return nil, fmt.Errorf("options Before and After need TCX, which came with kernel 6.6: give Priority for the position among the filters of clsact: %w", ebpf.ErrNotSupported)
	}
	name := filterName(p)
	location := tc.Location{
		Ifindex:  int32(ifindex),
		Egress:   attach == ebpf.AttachTCXEgress,
		Priority: o.Priority,
		Handle:   o.Handle,
	}
	if location.Priority == 0 {
		location.Priority = tc.DefaultPriority
	}
	if location.Handle == 0 {
		location.Handle = tc.DefaultHandle(name)
	}
	number, err := filterProgram(p.Program)
	if err != nil {
		return nil, err
	}
	attachFilter := tc.Attach
	if p.Pins != nil {
		if l := p.Pins.filters[fmt.Sprint(location)]; l != nil && !IsClosed(l) {
			return nil, fmt.Errorf("clsact: priority %d, handle %#x: this skeleton has attached a program there: choose another Priority or Handle: %w", location.Priority, location.Handle, unix.EEXIST)
		}
		attachFilter = tc.Keep
	}
	f, err := attachFilter(location, name, number)
	runtime.KeepAlive(p.Program)
	switch {
	case errors.Is(err, unix.ENOPROTOOPT):
		return nil, fmt.Errorf("%w: %w", ebpf.ErrNotSupported, err)
	case errors.Is(err, unix.EEXIST):
		return nil, fmt.Errorf("clsact: %w: remove it, or choose another Priority or Handle", err)
	case err != nil:
		return nil, explainInterface(fmt.Errorf("clsact: %w", err), ifindex)
	}
	l := newFilterLink(f)
	if p.Pins != nil {
		p.Pins.filters[fmt.Sprint(location)] = l
	}
	return l, nil
}

// filterName returns the name of the program's filters, by which they are known after a
// crash.
func filterName(p *Program) string {
	name := "rules_bpf/" + p.Object + "/" + p.Name
	const most = 190 // CLS_BPF_NAME_LEN of the kernel is 256.
	if len(name) > most {
		name = fmt.Sprintf("%s/%08x", name[:most], tc.DefaultHandle(name))
	}
	if p.Pins != nil {
		name += dirMark(p.Pins.dir)
	}
	return name
}

func filterProgram(prog *ebpf.Program) (tc.Program, error) {
	info, err := prog.Info()
	if err != nil {
		return tc.Program{}, err
	}
	id, _ := info.ID()
	return tc.Program{FD: prog.FD(), ID: uint32(id)}, nil
}

// filterLink is a link for a filter of clsact.
type filterLink struct {
	ownLink
	filter *tc.Filter
}

func newFilterLink(f *tc.Filter) *filterLink {
	return &filterLink{ownLink{what: "a filter of clsact", detach: f.Close}, f}
}

// Update puts prog in place of the program.
func (l *filterLink) Update(prog *ebpf.Program) error {
	if l.Closed() {
		return fmt.Errorf("update %s: it is closed", l.what)
	}
	if prog == nil {
		return fmt.Errorf("update %s: the program is nil", l.what)
	}
	number, err := filterProgram(prog)
	if err != nil {
		return err
	}
	err = l.filter.Update(number)
	runtime.KeepAlive(prog)
	if err != nil {
		return fmt.Errorf("update a filter of clsact: %w", err)
	}
	return nil
}

// Unpin makes Close remove a filter that is kept for the next process.
func (l *filterLink) Unpin() error {
	if !l.filter.Release() {
		return l.refuse("unpin")
	}
	return nil
}

// filterOf returns the link that stands for a filter, nil when it is another one.
func filterOf(l link.Link) *filterLink {
	if watched, ok := l.(*watchedLink); ok {
		l = watched.Link
	}
	f, _ := l.(*filterLink)
	return f
}
