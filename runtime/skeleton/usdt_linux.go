package skeleton

import (
	"debug/elf"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/runtime/internal/kconfig"
	"github.com/rules-bpf/rules_bpf/runtime/internal/usdt"
	"github.com/rules-bpf/rules_bpf/runtime/internal/userelf"
)

// usdt attaches prog, which is that of p, to every location of a USDT.
func (o *Object) usdt(p *BaseProgram, prog *ebpf.Program, path, provider, name string, opts USDTOptions) (link.Link, error) {
	f, err := userelf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	locations, err := usdt.Locations(f, provider, name)
	if err != nil {
		return nil, err
	}
	specs, ips := o.mapNamed(usdt.SpecMap), o.mapNamed(usdt.IPMap)
	if specs == nil || ips == nil {
		return nil, fmt.Errorf("the object has no maps %s and %s: include <bpf/usdt.bpf.h> in its source", usdt.SpecMap, usdt.IPMap)
	}
	cookies, err := kconfig.Virtual("LINUX_HAS_BPF_COOKIE")
	if err != nil {
		return nil, err
	}
	if cookies == 0 && f.Type == elf.ET_DYN {
		if err := usdt.Resolve(opts.PID, f.Path, locations); err != nil {
			return nil, err
		}
	}
	a := &usdtAttacher{file: f, owner: o, specs: specs, ips: ips, byIP: cookies == 0, cookie: opts.Cookie}
	for _, location := range locations {
		if err := a.add(prog, f.Path, location, opts.PID); err != nil {
			err = fmt.Errorf("%s: static probe %s:%s: %w", f.Path, provider, name, err)
			return nil, errors.Join(err, closeAll(a.links), a.release())
		}
	}
	for _, err := range a.unreadable {
		p.unreadable = append(p.unreadable, fmt.Errorf("%s: static probe %s:%s: %w", f.Path, provider, name, err))
	}
	return &usdtLink{Link: joinLinks("a static probe", a.links), release: a.release}, nil
}

// usdtLink is a link that gives back what a probe takes up once the kernel does not
// run its program any more. A pin keeps the program running after Close, and with
// another probe's arguments in its place of the map it would read wrong ones.
type usdtLink struct {
	link.Link
	mu             sync.Mutex
	pinned, closed bool
	// release may be called more than once.
	release func() error
}

func (l *usdtLink) Pin(path string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.Link.Pin(path)
	l.pinned = l.pinned || err == nil
	return err
}

func (l *usdtLink) Unpin() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.Link.Unpin(); err != nil {
		return err
	}
	l.pinned = false
	return l.releaseUnused()
}

func (l *usdtLink) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.Link.Close()
	l.closed = true
	return errors.Join(err, l.releaseUnused())
}

func (l *usdtLink) releaseUnused() error {
	if l.pinned || !l.closed {
		return nil
	}
	return l.release()
}

// mapNamed returns the object's map, nil if there is none.
func (o *Object) mapNamed(name string) *UntypedMap {
	for _, m := range o.maps {
		if m.name == name {
			return m
		}
	}
	return nil
}

// usdtAttacher holds what one probe takes up.
type usdtAttacher struct {
	file       *userelf.File
	owner      *Object
	specs, ips *UntypedMap
	// byIP says that the kernel has no cookies: the program finds its arguments by
	// the address.
	byIP bool
	// cookie is the user's.
	cookie uint64
	links  []link.Link
	ids    []uint32
	keys   []uint64
	// unreadable are why arguments cannot be read.
	unreadable []error
}

func (a *usdtAttacher) add(prog *ebpf.Program, path string, at usdt.Location, pid int) error {
	id, err := a.spec(at.Args)
	if err != nil {
		return err
	}
	uprobe := uprobePlace{path: path, offset: at.Offset, semaphore: at.Semaphore, pid: pid}
	if a.byIP {
		if err := a.ips.Map().Update(at.IP, id, ebpf.UpdateNoExist); err != nil {
			return fmt.Errorf("map %s: %w: define BPF_USDT_MAX_IP_CNT above %d before the header, or attach one program only to each probe", usdt.IPMap, err, a.ips.MaxEntries())
		}
		a.keys = append(a.keys, at.IP)
	} else {
		uprobe.cookie = uint64(id)
	}
	l, err := uprobeAt(prog, uprobe)
	if err != nil {
		return err
	}
	a.links = append(a.links, l)
	return nil
}

// spec puts the arguments of a location into the map, and returns their index.
func (a *usdtAttacher) spec(args string) (uint32, error) {
	parsed, err := usdt.ParseArgs(runtime.GOARCH, args, a.file.Symbol)
	if err != nil {
		return 0, err
	}
	types, err := a.owner.types()
	if err != nil {
		return 0, fmt.Errorf("types of the object: %w", err)
	}
	typ, err := typeOf(types, a.specs.decl.ValueType)
	if err != nil {
		return 0, fmt.Errorf("map %s: %w", usdt.SpecMap, err)
	}
	value, err := usdt.EncodeSpec(nativeOrder, typ, parsed, a.cookie)
	if err != nil {
		return 0, fmt.Errorf("map %s: %w: its source is another version of <bpf/usdt.bpf.h>", usdt.SpecMap, err)
	}
	for _, arg := range parsed {
		if arg.Err != nil {
			a.unreadable = append(a.unreadable, arg.Err)
		}
	}
	ids := &a.owner.usdtIDs
	id, isNew := ids.Take(string(value))
	if id >= a.specs.MaxEntries() {
		ids.Drop(id)
		return 0, fmt.Errorf("map %s is full: define BPF_USDT_MAX_SPEC_CNT above %d before including <bpf/usdt.bpf.h>", usdt.SpecMap, a.specs.MaxEntries())
	}
	a.ids = append(a.ids, id)
	if isNew {
		if err := a.specs.Map().Update(id, value, ebpf.UpdateAny); err != nil {
			return 0, fmt.Errorf("map %s: %w", usdt.SpecMap, err)
		}
	}
	return id, nil
}

// release gives back what add took, but for the links. Again it does nothing.
func (a *usdtAttacher) release() error {
	var errs []error
	for _, ip := range a.keys {
		errs = append(errs, a.forget(ip))
	}
	for _, id := range a.ids {
		a.owner.usdtIDs.Drop(id)
	}
	a.keys, a.ids = nil, nil
	return errors.Join(errs...)
}

// forget takes an address out of its map, which is gone when the skeleton is closed: the
// link outlives it when the user has taken it out of its slot.
func (a *usdtAttacher) forget(ip uint64) error {
	m, err := a.ips.begin()
	if errors.Is(err, ErrClosed) {
		return nil
	}
	if err != nil {
		return err
	}
	defer a.ips.end()
	return m.Delete(ip)
}
