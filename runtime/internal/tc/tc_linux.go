package tc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// DefaultPriority is the priority of filters that are given none. The kernel assigns its own
// priorities from here downwards.
const DefaultPriority = 0xc000

// DefaultHandle is the handle of a filter that is given none: a number made of its name, so
// that programs with different names do not take each other's location.
func DefaultHandle(name string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(name))
	// Not zero, by which the kernel chooses one.
	return h.Sum32()&0x7fffffff | 1
}

// Location is where a filter is.
type Location struct {
	// Ifindex is the interface, by its index in the network namespace.
	Ifindex int32
	// Egress is for packets that the interface sends, not those that it receives.
	Egress bool
	// Priority is not zero. Filters with lower ones run first.
	Priority uint16
	// Handle is not zero.
	Handle uint32
}

// Program is a program in the kernel.
type Program struct {
	FD int
	// ID is the kernel's.
	ID uint32
}

// Entry is a filter that the kernel has, or what several of one priority have in common:
// then the handle is zero.
type Entry struct {
	Location
	// Kind is "bpf" for programs.
	Kind string
	// Name is empty for other kinds.
	Name      string
	ProgramID uint32
}

// String names the filter as tc(8) shows it.
func (e Entry) String() string {
	s := fmt.Sprintf("filter of kind %s, priority %d, handle %#x", e.Kind, e.Priority, e.Handle)
	if e.Name != "" {
		s += fmt.Sprintf(", %q", e.Name)
	}
	if e.ProgramID != 0 {
		s += fmt.Sprintf(", program %d", e.ProgramID)
	}
	return s
}

// Numbers of linux/pkt_sched.h and linux/pkt_cls.h.
const (
	clsact        = 0xfffffff1 // TC_H_CLSACT, a parent
	clsactHandle  = 0xffff0000
	ingressParent = 0xfffffff2 // TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
	egressParent  = 0xfffffff3

	attrBPFFD    = 6
	attrBPFName  = 7
	attrBPFFlags = 8
	attrBPFID    = 11

	flagDirectAction = 1
)

func parentOf(egress bool) uint32 {
	if egress {
		return egressParent
	}
	return ingressParent
}

// message returns the location as requests have it.
func (p Location) message() tcMessage {
	// The upper half of info is the priority, the lower one the protocol in network byte
	// order: all of them, which is ETH_P_ALL.
	var protocol uint16 = unix.ETH_P_ALL
	return tcMessage{p.Ifindex, p.Handle, parentOf(p.Egress), uint32(p.Priority)<<16 | uint32(htons(protocol))}
}

// Filter is a filter of this process. It may have several owners; each closes it once.
type Filter struct {
	location Location
	name     string
	conn     *conn
	// mark is the socket that tells other processes that the filter has an owner.
	mark  int
	qdisc *qdisc

	// The mutex of qdiscs guards these.
	program uint32
	owners  int
	// kept is true when Close leaves the filter to the next process.
	kept bool
}

// Location returns the filter's location.
func (f *Filter) Location() Location { return f.location }

// A qdisc of kind clsact, on which this process has filters.
type qdisc struct {
	key qdiscKey
	// made is true when this process has made it.
	made    bool
	filters int
}

type qdiscKey struct {
	netNS   [2]uint64
	ifindex int32
}

// qdiscs are those on which this process has filters. Changes of them and of the filters
// are made one at a time, as the kernel makes them.
var qdiscs = struct {
	sync.Mutex
	known map[qdiscKey]*qdisc
}{known: make(map[qdiscKey]*qdisc)}

// Attach makes a filter for a program, in the network namespace of the calling thread. The
// error is [unix.EEXIST] when the location is taken, with the filter that is there, and
// [unix.ENOPROTOOPT] when the kernel lacks classic traffic control.
func Attach(location Location, name string, prog Program) (*Filter, error) {
	return attachFilter(location, name, prog, false)
}

// Keep is Attach for a filter that outlives its process on purpose: Close leaves it, and a
// filter of the same name at the location is replaced, whether or not its process is running.
// Only processes that want this may use the name.
func Keep(location Location, name string, prog Program) (*Filter, error) {
	return attachFilter(location, name, prog, true)
}

func attachFilter(location Location, name string, prog Program, keep bool) (_ *Filter, err error) {
	qdiscs.Lock()
	defer qdiscs.Unlock()
	c, err := dial()
	if err != nil {
		return nil, err
	}
	f := &Filter{location: location, name: name, conn: c, mark: -1, program: prog.ID, owners: 1, kept: keep}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.release())
		}
	}()
	if !keep {
		if f.mark, err = setMark(location); err != nil {
			return nil, f.taken(err)
		}
	}
	if f.qdisc, err = c.addQdisc(location, keep); err != nil {
		return nil, err
	}
	err = f.set(prog, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	if errors.Is(err, unix.EEXIST) {
		var there *Entry
		if there, err = c.find(location); err != nil {
			return nil, err
		}
		if there == nil || there.Name != name {
			return nil, f.taken(unix.EEXIST)
		}
		// No process has the mark: the filter has no owner any more, or one that has kept it
		// for this process.
		err = f.set(prog, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	}
	if err != nil {
		return nil, err
	}
	f.qdisc.filters++
	return f, nil
}

// set makes or replaces the filter.
func (f *Filter) set(prog Program, flags uint16) error {
	var options []byte
	options = appendUint32(options, attrBPFFD, uint32(prog.FD))
	options = appendText(options, attrBPFName, f.name)
	options = appendUint32(options, attrBPFFlags, flagDirectAction)
	attrs := appendText(nil, unix.TCA_KIND, "bpf")
	attrs = appendAttr(attrs, unix.TCA_OPTIONS|unix.NLA_F_NESTED, options)
	err := f.conn.call(unix.RTM_NEWTFILTER, flags, f.location.message(), attrs, nil)
	switch {
	case errors.Is(err, unix.ENOENT) && flags&unix.NLM_F_CREATE != 0:
		return fmt.Errorf("the kernel has no filters of kind bpf (CONFIG_NET_CLS_BPF): %w: %w", unix.ENOPROTOOPT, err)
	case errors.Is(err, unix.EINVAL):
		// A priority is for filters of one kind and protocol.
		if others, listErr := f.conn.list(f.location.Ifindex, f.location.Egress); listErr == nil {
			for _, e := range others {
				if e.Priority == f.location.Priority && e.Kind != "bpf" {
					return fmt.Errorf("the priority has a %v: %w", e, err)
				}
			}
		}
	}
	return err
}

// taken adds to an error who has the location.
func (f *Filter) taken(err error) error {
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	there, findErr := f.conn.find(f.location)
	switch {
	case findErr != nil:
		return errors.Join(err, findErr)
	case there == nil:
		return fmt.Errorf("priority %d, handle %#x: a process that is still running attached a program there, which has been removed since: %w", f.location.Priority, f.location.Handle, err)
	case there.Name == f.name:
		return fmt.Errorf("there is a %v, of a process that is running: %w", *there, err)
	}
	return fmt.Errorf("there is a %v, which is not of this program: %w", *there, err)
}

// Share adds an owner.
func (f *Filter) Share() {
	qdiscs.Lock()
	defer qdiscs.Unlock()
	f.owners++
}

// Update puts another program in place of the one that the filter has. No packet passes
// between the two. The error is [unix.ENOENT] when the filter is not there any more.
func (f *Filter) Update(prog Program) error {
	qdiscs.Lock()
	defer qdiscs.Unlock()
	own, err := f.isOwn()
	if err != nil {
		return err
	}
	if !own {
		return fmt.Errorf("another process has removed or replaced the filter: %w", unix.ENOENT)
	}
	if err := f.set(prog, unix.NLM_F_REPLACE); err != nil {
		return err
	}
	f.program = prog.ID
	return nil
}

// isOwn reports whether the filter is there as it was made.
func (f *Filter) isOwn() (bool, error) {
	there, err := f.conn.find(f.location)
	if err != nil {
		return false, err
	}
	return there != nil && there.Name == f.name && there.ProgramID == f.program, nil
}

// Release undoes [Keep]: Close removes the filter. It reports false for one that was not kept.
func (f *Filter) Release() bool {
	qdiscs.Lock()
	defer qdiscs.Unlock()
	kept := f.kept
	f.kept = false
	return kept
}

// Close gives up one owner's share and removes the filter with the last, unless it is kept. It
// is not an error that another process has removed or replaced it, or that the interface is gone.
func (f *Filter) Close() error {
	qdiscs.Lock()
	defer qdiscs.Unlock()
	if f.owners--; f.owners > 0 {
		return nil
	}
	var err error
	if !f.kept {
		var own bool
		if own, err = f.isOwn(); err == nil && own {
			err = f.conn.remove(f.location)
		}
	}
	f.qdisc.filters--
	return errors.Join(err, f.release())
}

// remove removes the filter at a location, if there is one.
func (c *conn) remove(location Location) error {
	err := c.call(unix.RTM_DELTFILTER, 0, location.message(), appendText(nil, unix.TCA_KIND, "bpf"), nil)
	if isGone(err) {
		return nil
	}
	return err
}

// RemoveAll removes the filters for which stale returns true, of all interfaces in the network
// namespace of the calling thread, and returns them. Qdiscs stay. A kernel without traffic
// control has none.
func RemoveAll(stale func(Entry) bool) (removed []Entry, err error) {
	qdiscs.Lock()
	defer qdiscs.Unlock()
	c, err := dial()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	// Only interfaces with a qdisc have filters.
	with := make(map[int32]bool)
	err = c.call(unix.RTM_GETQDISC, unix.NLM_F_DUMP, tcMessage{}, nil, func(m tcMessage, _ []byte) {
		if m.parent == clsact {
			with[m.ifindex] = true
		}
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		// The kernel has no traffic control: it is built without CONFIG_NET_SCHED.
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list of qdiscs: %w", err)
	}
	for _, ifindex := range slices.Sorted(maps.Keys(with)) {
		for _, egress := range []bool{false, true} {
			entries, err := c.list(ifindex, egress)
			if err != nil {
				return removed, err
			}
			for _, e := range entries {
				if e.Handle == 0 || !stale(e) {
					continue
				}
				if err := c.remove(e.Location); err != nil {
					return removed, fmt.Errorf("remove %v: %w", e, err)
				}
				removed = append(removed, e)
			}
		}
	}
	return removed, nil
}

// release gives up everything but the filter.
func (f *Filter) release() error {
	var errs []error
	if q := f.qdisc; q != nil {
		errs = append(errs, f.conn.removeQdisc(q))
		if q.filters == 0 {
			delete(qdiscs.known, q.key)
		}
	}
	if f.mark >= 0 {
		errs = append(errs, os.NewSyscallError("close", unix.Close(f.mark)))
	}
	return errors.Join(append(errs, f.conn.close())...)
}

// isGone reports whether a request failed because its object does not exist.
func isGone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO)
}

// addQdisc makes sure that the interface has a qdisc with the location's list. One that is made
// for a filter that is kept is kept, too.
func (c *conn) addQdisc(location Location, keep bool) (*qdisc, error) {
	ns, err := c.netNS()
	if err != nil {
		return nil, err
	}
	m := tcMessage{ifindex: location.Ifindex, handle: clsactHandle, parent: clsact}
	err = c.call(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_EXCL, m, appendText(nil, unix.TCA_KIND, "clsact"), nil)
	switch {
	case errors.Is(err, unix.EEXIST):
		if err := c.checkQdisc(location); err != nil {
			return nil, err
		}
	case errors.Is(err, unix.ENOENT):
		return nil, fmt.Errorf("the kernel has no qdisc of kind clsact (CONFIG_NET_SCH_INGRESS): %w: %w", unix.ENOPROTOOPT, err)
	case err != nil:
		return nil, fmt.Errorf("qdisc clsact: %w", err)
	}
	key := qdiscKey{ns, location.Ifindex}
	q := qdiscs.known[key]
	if q == nil {
		q = &qdisc{key: key}
		qdiscs.known[key] = q
	}
	q.made = q.made || err == nil && !keep
	return q, nil
}

// checkQdisc checks a qdisc that is there already.
func (c *conn) checkQdisc(location Location) error {
	kind := ""
	// The kernel lists those of all interfaces.
	m := tcMessage{ifindex: location.Ifindex}
	err := c.call(unix.RTM_GETQDISC, unix.NLM_F_DUMP, m, nil, func(m tcMessage, attrs []byte) {
		if m.ifindex != location.Ifindex || m.parent != clsact {
			return
		}
		eachAttr(attrs, func(typ uint16, value []byte) {
			if typ == unix.TCA_KIND {
				kind = text(value)
			}
		})
	})
	if err != nil {
		return fmt.Errorf("list of qdiscs: %w", err)
	}
	switch {
	case kind == "clsact", kind == "ingress" && !location.Egress:
	default:
		// It would add a filter for the other list to its only one.
		return fmt.Errorf("the interface has a qdisc of kind %s, which leaves no room for one of kind clsact and no filters for packets that are sent: remove it with tc qdisc delete: %w", kind, unix.EEXIST)
	}
	return nil
}

// removeQdisc removes a qdisc that this process has made, if it has no filter.
func (c *conn) removeQdisc(q *qdisc) error {
	if !q.made {
		return nil
	}
	for _, egress := range []bool{false, true} {
		if entries, err := c.list(q.key.ifindex, egress); err != nil || len(entries) > 0 {
			return err
		}
	}
	q.made = false
	m := tcMessage{ifindex: q.key.ifindex, handle: clsactHandle, parent: clsact}
	err := c.call(unix.RTM_DELQDISC, 0, m, appendText(nil, unix.TCA_KIND, "clsact"), nil)
	if isGone(err) || errors.Is(err, unix.EINVAL) {
		// EINVAL when another process has removed it and the interface is still there.
		return nil
	}
	return err
}

// find returns the filter at a location, nil when there is none.
func (c *conn) find(location Location) (*Entry, error) {
	entries, err := c.list(location.Ifindex, location.Egress)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Location == location {
			return &e, nil
		}
	}
	return nil, nil
}

// list returns the filters of a list in the order in which they run, none when there is no
// such interface.
func (c *conn) list(ifindex int32, egress bool) ([]Entry, error) {
	var entries []Entry
	m := tcMessage{ifindex: ifindex, parent: parentOf(egress)}
	err := c.call(unix.RTM_GETTFILTER, unix.NLM_F_DUMP, m, nil, func(m tcMessage, attrs []byte) {
		if m.ifindex != ifindex {
			return
		}
		e := Entry{Location: Location{ifindex, egress, uint16(m.info >> 16), m.handle}}
		eachAttr(attrs, func(typ uint16, value []byte) {
			switch typ {
			case unix.TCA_KIND:
				e.Kind = text(value)
			case unix.TCA_OPTIONS:
				e.parse(value)
			}
		})
		entries = append(entries, e)
	})
	if isGone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list of filters: %w", err)
	}
	return entries, nil
}

// parse reads the options of a filter of kind bpf.
func (e *Entry) parse(options []byte) {
	if e.Kind != "bpf" {
		return
	}
	eachAttr(options, func(typ uint16, value []byte) {
		switch {
		case typ == attrBPFName:
			e.Name = text(value)
		case typ == attrBPFID && len(value) == 4:
			e.ProgramID = binary.NativeEndian.Uint32(value)
		}
	})
}

// List returns the filters of an interface in the order in which they run, in the network
// namespace of the calling thread.
func List(ifindex int32, egress bool) ([]Entry, error) {
	c, err := dial()
	if err != nil {
		return nil, err
	}
	entries, err := c.list(ifindex, egress)
	return entries, errors.Join(err, c.close())
}
