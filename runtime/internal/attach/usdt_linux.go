package attach

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/runtime/internal/kconfig"
	"github.com/rules-bpf/rules_bpf/runtime/internal/usdt"
	"github.com/rules-bpf/rules_bpf/runtime/internal/usersym"
)

// USDT connects p to every location of a USDT. all is nil when the object has no maps
// for them. unreadable are why arguments cannot be read.
func USDT(p *Program, path, provider, name string, pid int, cookie uint64, all *USDTs) (l link.Link, unreadable []error, err error) {
	a := &usdtAttacher{all: all, cookie: cookie}
	if l, err = a.connect(p.Program, path, provider, name, pid); err != nil {
		return nil, nil, err
	}
	return l, a.unreadable, nil
}

// connect connects prog to every location of a USDT.
func (a *usdtAttacher) connect(prog *ebpf.Program, path, provider, name string, pid int) (link.Link, error) {
	f, err := usersym.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	locations, err := usdt.Locations(f, provider, name)
	if err != nil {
		return nil, err
	}
	if a.all == nil {
		return nil, fmt.Errorf("the object has no maps %s and %s: include <bpf/usdt.bpf.h> in its source", usdt.SpecMap, usdt.IPMap)
	}
	cookies, err := kconfig.Virtual("LINUX_HAS_BPF_COOKIE")
	if err != nil {
		return nil, err
	}
	if cookies == 0 && f.Type == elf.ET_DYN {
		if err := usdt.Resolve(pid, f.Path, locations); err != nil {
			return nil, err
		}
	}
	a.file, a.byIP = f, cookies == 0
	for _, location := range locations {
		if err := a.add(prog, f.Path, location, pid); err != nil {
			err = fmt.Errorf("%s: USDT %s:%s: %w", f.Path, provider, name, err)
			return nil, errors.Join(err, CloseAll(a.links), a.release())
		}
	}
	for i, err := range a.unreadable {
		a.unreadable[i] = fmt.Errorf("%s: USDT %s:%s: %w", f.Path, provider, name, err)
	}
	return &usdtLink{Link: joinLinks("a USDT", a.links), release: a.release}, nil
}

// usdtLink is a link that frees the map entries of a probe once the kernel does not run its
// program any more. A pin keeps the program running after Close, and if another probe got the
// entries, it would read that one's arguments.
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

// usdtAttacher holds the links and map entries of one probe.
type usdtAttacher struct {
	all  *USDTs
	file *usersym.File
	// byIP is true when the kernel has no cookies: the program finds its arguments by
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
	uprobe := uprobeTarget{path: path, offset: at.Offset, semaphore: at.Semaphore, pid: pid}
	if a.byIP {
		if err := a.all.IPs.Update(at.IP, id, ebpf.UpdateNoExist); err != nil {
			return fmt.Errorf("map %s: %w: define BPF_USDT_MAX_IP_CNT above %d before the header, or attach one program only to each probe", usdt.IPMap, err, a.all.IPs.MaxEntries())
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
	typ, err := a.all.SpecType()
	if err != nil {
		return 0, err
	}
	value, err := usdt.EncodeSpec(binary.NativeEndian, typ, parsed, a.cookie)
	if err != nil {
		return 0, fmt.Errorf("map %s: %w: its source is another version of <bpf/usdt.bpf.h>", usdt.SpecMap, err)
	}
	for _, arg := range parsed {
		if arg.Err != nil {
			a.unreadable = append(a.unreadable, arg.Err)
		}
	}
	ids := a.all.IDs
	id, isNew := ids.Take(string(value))
	if id >= a.all.Specs.MaxEntries() {
		ids.Drop(id)
		return 0, fmt.Errorf("map %s is full: define BPF_USDT_MAX_SPEC_CNT above %d before including <bpf/usdt.bpf.h>", usdt.SpecMap, a.all.Specs.MaxEntries())
	}
	a.ids = append(a.ids, id)
	if isNew {
		if err := a.all.Specs.Update(id, value, ebpf.UpdateAny); err != nil {
			return 0, fmt.Errorf("map %s: %w", usdt.SpecMap, err)
		}
	}
	return id, nil
}

// release frees what add has taken, except for the links. A second call does nothing.
func (a *usdtAttacher) release() error {
	var errs []error
	for _, ip := range a.keys {
		errs = append(errs, a.all.Forget(ip))
	}
	for _, id := range a.ids {
		a.all.IDs.Drop(id)
	}
	a.keys, a.ids = nil, nil
	return errors.Join(errs...)
}
