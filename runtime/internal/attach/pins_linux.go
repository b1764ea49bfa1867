package attach

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/internal/kernelfs"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
	"github.com/rules-bpf/rules_bpf/runtime/internal/tc"
)

// makePinDirectory makes a directory for pins unless it is there, and returns its path
// without symbolic links.
func makePinDirectory(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	// The check comes before anything is made.
	above := dir
	is, err := kernelfs.IsBPFFS(above)
	for isNotThere(above, err) && above != filepath.Dir(above) {
		above = filepath.Dir(above)
		is, err = kernelfs.IsBPFFS(above)
	}
	if err != nil {
		return "", err
	}
	if !is {
		return "", fmt.Errorf("%s is not of a bpffs: choose a directory below /sys/fs/bpf, or `mount -t bpf bpf %s` as root", above, above)
	}
	if strings.Contains(strings.TrimPrefix(dir, above), ".") {
		return "", errors.New("a bpffs has no names with dots: choose another")
	}
	for _, d := range []string{linksOf(dir), mapsOf(dir)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return "", err
		}
	}
	return filepath.EvalSymlinks(dir)
}

// isNotThere reports whether an error means that nothing is at a path. A bpffs has another
// error for names with dots.
func isNotThere(path string, err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EPERM) && strings.Contains(filepath.Base(path), ".")
}

// lockPins keeps other processes from changing pins of a directory. The kernel releases the
// lock when the process ends.
func lockPins(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(d.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		d.Close()
		return nil, os.NewSyscallError("flock", err)
	}
	return func() { d.Close() }, nil
}

// Connect returns the connection that connect makes, as one of the program's links. With
// p.Pins, it is pinned, or that of an earlier process with the program in it.
func Connect(list *Links, p *Program, hook Hook, connect func(*Program) (link.Link, error)) (link.Link, error) {
	name, netNS := "", uint64(0)
	if p.Pins != nil && hook.name != nil {
		var err error
		if name, err = hook.name(); err != nil {
			return nil, err
		}
		if name != "" && hook.ifindex != 0 {
			if netNS, err = presentNetNS(); err != nil {
				return nil, err
			}
		}
	}
	if name == "" {
		l, err := connect(p)
		if err != nil {
			return nil, err
		}
		return list.Watch(l), nil
	}
	return p.Pins.connect(connection{
		symbol: p.Name,
		hook:   name,
		netNS:  netNS,
		fresh:  hook.fresh,
		fits: func(info *sys.LinkInfo) (bool, error) {
			if !hook.updated {
				return false, nil
			}
			if fits, err := p.checkPinned(info, name); !fits || err != nil || hook.ifindex == 0 {
				return fits, err
			}
			// An interface that was moved to another namespace has taken its link along.
			return isHere(hook.ifindex)
		},
		update:  func(l link.Link) error { return l.Update(p.Program) },
		connect: func() (link.Link, error) { return connect(p) },
		watch:   list.Watch,
	})
}

// ConnectTable is Connect for a struct_ops map.
func ConnectTable(list *Links, t StructOps, connect func() (link.Link, error)) (link.Link, error) {
	watch := func(l link.Link) link.Link {
		if _, ok := l.(*registration); ok {
			// It has no descriptor, and knows itself whether it is closed.
			return l
		}
		return list.Watch(l)
	}
	if t.Pins == nil {
		l, err := connect()
		if err != nil {
			return nil, err
		}
		return watch(l), nil
	}
	return t.Pins.connect(connection{
		symbol: t.Name,
		hook:   "struct_ops",
		fits:   t.checkPinned,
		update: func(l link.Link) error {
			fd, _ := l.(interface{ FD() int })
			return UpdateTable(fd.FD(), t.Map)
		},
		connect: connect,
		watch:   watch,
	})
}

// connection is a link that is to be pinned.
type connection struct {
	symbol, hook string
	// netNS is the inode of the network namespace that an interface is in, 0 for what is on none.
	netNS uint64
	fresh bool
	// fits reports whether a pinned link can be updated, or is to be replaced by a new one. It
	// returns an error when it is another one.
	fits    func(*sys.LinkInfo) (bool, error)
	update  func(link.Link) error
	connect func() (link.Link, error)
	watch   func(link.Link) link.Link
}

// connect takes over a pinned link, or makes and pins one. A process that ends in between
// leaves the earlier link or the later one pinned, and at most one more whose name ends in
// newPin, which the next process removes first.
func (p *Pins) connect(l connection) (link.Link, error) {
	unlock, err := lockPins(p.dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	name := pinName(l.symbol, l.hook)
	if l.netNS != 0 {
		name += fmt.Sprint(netNSMark, l.netNS)
	}
	name = p.free(name)
	path := filepath.Join(linksOf(p.dir), name)
	old, err := link.LoadPinnedLink(path, nil)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("use what is pinned at %s: %w", path, err)
	}
	if old != nil {
		if !l.fresh {
			taken, err := l.takeOver(old)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("take over the link that is pinned at %s: %w: remove the pin to start over", path, err), old.Close())
			}
			if taken {
				return p.own(l, name, path, old, false), nil
			}
		}
		defer old.Close()
	}
	made, err := l.connect()
	if err != nil {
		if old != nil {
			err = fmt.Errorf("%w: an earlier process has left a link, which is pinned at %s and which the kernel cannot update: if it leaves no room for another one, remove the pin", err, path)
		}
		return nil, err
	}
	if _, ok := made.(*filterLink); ok {
		// The filter itself is kept for the next process, and needs no pin.
		return l.watch(made), nil
	}
	if err := pinOver(made, path, old != nil); err != nil {
		if errors.Is(err, ebpf.ErrNotSupported) {
			err = fmt.Errorf("%w: AdoptPinned needs links that can be pinned: call SetPinLinks(false) if this may have a gap", err)
		}
		return nil, errors.Join(fmt.Errorf("pin the link at %s: %w", path, err), made.Close())
	}
	return p.own(l, name, path, made, old == nil), nil
}

// own makes a pinned link one of this skeleton. made is true when no link existed before.
func (p *Pins) own(l connection, name, path string, pinned link.Link, made bool) link.Link {
	watched := l.watch(pinned)
	if w := watchedOf(watched); w != nil {
		w.pin, w.made = path, made
	}
	p.links[name] = watched
	return watched
}

// newPin is the end of the name of a pin that is to take another one's name.
const newPin = "-new"

// pinOver pins a link, in place of what is pinned when over is true.
func pinOver(l link.Link, path string, over bool) error {
	if !over {
		return l.Pin(path)
	}
	// One may be left of a process that has ended at this point.
	if err := os.Remove(path + newPin); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := l.Pin(path + newPin); err != nil {
		return err
	}
	if err := os.Rename(path+newPin, path); err != nil {
		return errors.Join(err, os.Remove(path+newPin))
	}
	return nil
}

// takeOver updates a pinned link. It reports false for one that the kernel cannot update,
// and for one that is not attached any more.
func (l connection) takeOver(old link.Link) (bool, error) {
	fd, ok := old.(interface{ FD() int })
	if !ok {
		return false, nil
	}
	var info sys.LinkInfo
	if err := sys.GetInfoByFD(fd.FD(), &info); err != nil {
		return false, err
	}
	if fits, err := l.fits(&info); !fits || err != nil {
		return false, err
	}
	switch err := l.update(old); {
	case errors.Is(err, unix.ENOLINK), errors.Is(err, unix.EOPNOTSUPP):
		// The target is gone, or the type of a table has no update.
		return false, nil
	case err != nil:
		return false, fmt.Errorf("update it: %w", err)
	}
	return true, nil
}

// checkPinned reports whether a link that is pinned for a hook of the program is attached
// there, and returns an error when it is another one. One whose target has gone is not
// attached.
func (p *Program) checkPinned(info *sys.LinkInfo, want string) (bool, error) {
	have, attached := hookOf(info)
	if !attached {
		return false, nil
	}
	if have != want {
		return false, fmt.Errorf("it is a link of type %d on %s, and this is for %s", info.Type, have, want)
	}
	fd, err := sys.GetFDByID(sys.ProgFDByIDCmd, info.ProgID)
	if err != nil {
		// The program cannot be opened without CAP_SYS_ADMIN, or was replaced meanwhile. The
		// kernel compares the types as well.
		return true, nil
	}
	defer sys.Close(fd)
	var prog sys.ProgInfo
	if err := sys.GetInfoByFD(fd, &prog); err != nil {
		return false, err
	}
	if prog.Type != uint32(p.Type()) {
		return false, fmt.Errorf("its program is of type %v, and this one is of type %v", ebpf.ProgramType(prog.Type), p.Type())
	}
	return true, nil
}

// hookOf names what a link is on: see [Hook]. It reports false when the link is not attached
// any more.
func hookOf(info *sys.LinkInfo) (name string, attached bool) {
	first, second := info.Word(0), info.Word(4)
	switch link.Type(info.Type) {
	case link.XDPType:
		return xdpHook(first), first != 0
	case link.TCXType:
		return tcHook(first, ebpf.AttachType(second)), first != 0
	case link.NetkitType:
		return netkitHook(first, ebpf.AttachType(second)), first != 0
	case link.CgroupType:
		id := binary.NativeEndian.Uint64(info.Of[:])
		return cgroupHook(id, ebpf.AttachType(info.Word(8))), id != 0
	case link.NetNsType:
		return netNSHook(uint64(first), ebpf.AttachType(second)), first != 0
	case sockMapLink:
		return sockMapHook(first, ebpf.AttachType(second)), first != 0
	}
	return "something that no link is updated on", true
}

// netNSMark comes before the inode of a network namespace in the names of pins of links on
// interfaces: the kernel reports only the index of a link's interface, and each namespace has
// an interface 2.
const netNSMark = "-netns-"

// netNSOf returns the inode in the name of such a pin, 0 when it has none.
func netNSOf(pin string) uint64 {
	_, after, _ := strings.Cut(pin, netNSMark)
	// A number as of [Pins.free] may follow.
	after, _, _ = strings.Cut(after, "-")
	inode, _ := strconv.ParseUint(after, 10, 64)
	return inode
}

// presentNetNS returns the inode of the network namespace of the calling thread. It stays the
// same for as long as there is the namespace.
func presentNetNS() (uint64, error) {
	const path = "/proc/thread-self/ns/net"
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, fmt.Errorf("which network namespace this is: %w: AdoptPinned needs the proc file system: `mount -t proc proc /proc`", &fs.PathError{Op: "stat", Path: path, Err: err})
	}
	return st.Ino, nil
}

// isHere reports whether there is an interface with an index in the network namespace of the
// calling thread.
func isHere(ifindex int) (bool, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("answer")
	if err != nil {
		return false, err
	}
	ifr.SetUint32(uint32(ifindex))
	err = unix.IoctlIfreq(fd, unix.SIOCGIFNAME, ifr)
	if errors.Is(err, unix.ENODEV) {
		return false, nil
	}
	return err == nil, os.NewSyscallError("name of an interface", err)
}

// otherNetNS returns a function that reports whether a link that is pinned at a path is
// attached in another network namespace than that of the calling thread.
func otherNetNS() (func(path string) (bool, error), error) {
	here, err := presentNetNS()
	if err != nil {
		return nil, err
	}
	return func(path string) (bool, error) {
		l, err := link.LoadPinnedLink(path, nil)
		if err != nil {
			// It is no link, or is gone.
			return false, nil
		}
		defer l.Close()
		fd, ok := l.(interface{ FD() int })
		if !ok {
			return false, nil
		}
		var info sys.LinkInfo
		if err := sys.GetInfoByFD(fd.FD(), &info); err != nil {
			return false, fmt.Errorf("%s: %w", path, err)
		}
		// The first word of either is 0 for one that is not attached any more.
		first := info.Word(0)
		switch link.Type(info.Type) {
		case link.XDPType, link.TCXType, link.NetkitType:
			at := netNSOf(filepath.Base(path))
			return first != 0 && at != 0 && at != here, nil
		case link.NetNsType:
			return first != 0 && uint64(first) != here, nil
		}
		return false, nil
	}, nil
}

// sockMapLink is BPF_LINK_TYPE_SOCKMAP.
const sockMapLink = link.Type(14)

// The names of hooks, made from what the kernel reports of links.

func xdpHook(ifindex uint32) string { return fmt.Sprintf("xdp-%d", ifindex) }

func tcHook(ifindex uint32, typ ebpf.AttachType) string {
	direction := "ingress"
	if typ == ebpf.AttachTCXEgress {
		direction = "egress"
	}
	return fmt.Sprintf("tc-%d-%s", ifindex, direction)
}

func netkitHook(ifindex uint32, typ ebpf.AttachType) string {
	end := "primary"
	if typ == ebpf.AttachNetkitPeer {
		end = "peer"
	}
	return fmt.Sprintf("netkit-%d-%s", ifindex, end)
}

func cgroupHook(id uint64, typ ebpf.AttachType) string {
	return fmt.Sprintf("cgroup-%d-%d", id, uint32(typ))
}

func netNSHook(inode uint64, typ ebpf.AttachType) string {
	return fmt.Sprintf("netns-%d-%d", inode, uint32(typ))
}

func sockMapHook(id uint32, typ ebpf.AttachType) string {
	return fmt.Sprintf("sockmap-%d-%d", id, uint32(typ))
}

// OnXDP is XDP of an interface.
func OnXDP(ifindex int) Hook {
	return Hook{updated: true, ifindex: ifindex, name: func() (string, error) { return nameOn(ifindex, xdpHook), nil }}
}

// OnTC is a direction of traffic control. Filters of clsact have no pins.
func OnTC(ifindex int, typ ebpf.AttachType, o TCOptions) Hook {
	if o.Mode == TCClsact || typ != ebpf.AttachTCXIngress && typ != ebpf.AttachTCXEgress {
		return Hook{}
	}
	h := Hook{updated: true, ifindex: ifindex, name: func() (string, error) {
		return nameOn(ifindex, func(ifindex uint32) string { return tcHook(ifindex, typ) }), nil
	}}
	return h.Replacing(o.Replace)
}

// OnNetkit is an end of a pair.
func OnNetkit(ifindex int, typ ebpf.AttachType) Hook {
	if typ != ebpf.AttachNetkitPrimary && typ != ebpf.AttachNetkitPeer {
		return Hook{}
	}
	return Hook{updated: true, ifindex: ifindex, name: func() (string, error) {
		return nameOn(ifindex, func(ifindex uint32) string { return netkitHook(ifindex, typ) }), nil
	}}
}

// nameOn returns the name of a hook of an interface, empty when there can be no such interface.
func nameOn(ifindex int, name func(uint32) string) string {
	if CheckIfindex(ifindex) != nil {
		return ""
	}
	return name(uint32(ifindex))
}

// OnCgroup is a hook of the cgroup with a directory.
func OnCgroup(path string, typ ebpf.AttachType) Hook {
	return Hook{updated: true, name: func() (string, error) {
		dir, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer dir.Close()
		id, err := cgroupID(dir)
		if err != nil {
			return "", err
		}
		return cgroupHook(id, typ), nil
	}}
}

// OnNetNS is a hook of the network namespace with a file.
func OnNetNS(path string, typ ebpf.AttachType) Hook {
	return Hook{updated: true, name: func() (string, error) {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return "", &fs.PathError{Op: "stat", Path: path, Err: err}
		}
		return netNSHook(st.Ino, typ), nil
	}}
}

// OnSockMap is a hook of the sockets of a map.
func OnSockMap(m *ebpf.Map, typ ebpf.AttachType) Hook {
	if m == nil {
		return Hook{}
	}
	return Hook{updated: true, name: func() (string, error) {
		var info sys.MapInfo
		err := sys.GetInfoByFD(m.FD(), &info)
		runtime.KeepAlive(m)
		return sockMapHook(info.ID, typ), err
	}}
}

// checkPinned is that of programs.
func (t StructOps) checkPinned(info *sys.LinkInfo) (bool, error) {
	if link.Type(info.Type) != link.StructOpsType {
		return false, fmt.Errorf("it is a link of type %d, and this is a struct_ops map", info.Type)
	}
	id := info.Word(0)
	if id == 0 {
		return false, nil
	}
	fd, err := sys.GetFDByID(sys.MapFDByIDCmd, id)
	if err != nil {
		// The map cannot be opened without CAP_SYS_ADMIN, or was replaced meanwhile. The kernel
		// compares the types as well.
		return true, nil
	}
	defer sys.Close(fd)
	var has, own sys.MapInfo
	if err := errors.Join(sys.GetInfoByFD(fd, &has), sys.GetInfoByFD(t.Map.FD(), &own)); err != nil {
		return false, err
	}
	if has.VmlinuxValueID != own.VmlinuxValueID {
		return false, fmt.Errorf("its table, map %s, is of another struct_ops type than SEC(%q) %s", sys.Text(has.Name[:]), t.Section, t.Name)
	}
	return true, nil
}

// unpin removes a pin of a link, unless another one has taken its name.
func unpin(l link.Link, path string) error {
	unlock, err := lockPins(filepath.Dir(filepath.Dir(path)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	there, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer there.Close()
	own, err := l.Info()
	if err != nil {
		return err
	}
	if has, err := there.Info(); err != nil || has.ID != own.ID {
		return err
	}
	return os.Remove(path)
}

// dirMark is the end of the names of filters that belong to a directory.
func dirMark(dir string) string {
	if len(dir) > 40 {
		dir = fmt.Sprintf("%08x", tc.DefaultHandle(dir))
	}
	return "@" + dir
}

// removePins removes what is in a directory, and filters that belong to it. keep and keepFilter
// are asked about paths and the texts of locations.
func removePins(dir string, keep func(string) (bool, error), keepFilter func(string) bool) (removed []string, err error) {
	unlock, err := lockPins(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	// Links first: no program is to lose a map before it is detached.
	for _, d := range []string{linksOf(dir), mapsOf(dir)} {
		entries, err := os.ReadDir(d)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, err
		}
		for _, e := range entries {
			path := filepath.Join(d, e.Name())
			kept, err := keep(path)
			if err != nil {
				return removed, err
			}
			if kept {
				continue
			}
			if err := os.Remove(path); err != nil {
				return removed, err
			}
			removed = append(removed, path)
		}
	}
	mark := dirMark(dir)
	filters, err := tc.RemoveAll(func(e tc.Entry) bool {
		return strings.HasSuffix(e.Name, mark) && !keepFilter(fmt.Sprint(e.Location))
	})
	for _, f := range filters {
		removed = append(removed, fmt.Sprintf("interface %d: %v", f.Ifindex, f))
	}
	return removed, err
}

// RemovePinned removes all that processes have pinned in a directory, and the directory.
func RemovePinned(dir string) error {
	dir, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := checkMadeForPins(dir); err != nil {
		return err
	}
	none := func(string) (bool, error) { return false, nil }
	if _, err := removePins(dir, none, func(string) bool { return false }); err != nil {
		return err
	}
	for _, d := range []string{linksOf(dir), mapsOf(dir), dir} {
		if err := os.Remove(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// checkMadeForPins refuses a directory that [makePinDirectory] has not made.
func checkMadeForPins(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	is, err := kernelfs.IsBPFFS(dir)
	if err != nil {
		return err
	}
	other := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() != "links" && e.Name() != "maps" })
	if other || !is {
		return errors.New("AdoptPinned has not made it: it is not of a bpffs, or has more than the directories links and maps")
	}
	return nil
}
