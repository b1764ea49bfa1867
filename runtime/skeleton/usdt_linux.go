package skeleton

import (
	"bufio"
	"bytes"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/runtime/internal/kconfig"
)

// USDTs: the compiler puts a note into the ELF file for each location of one, with the
// location's address, the address of a semaphore, which counts who listens, and where
// the arguments are. Attaching is a uprobe at each location, for which the kernel keeps
// the semaphore, and an entry in the map
// __bpf_usdt_specs of bpf/usdt.bpf.h, from which the program finds its
// arguments. The format of the notes is SystemTap's; the maps and the sequence
// are libbpf's.

const (
	usdtSpecMap = "__bpf_usdt_specs"
	usdtIPMap   = "__bpf_usdt_ip_to_spec_id"

	usdtNoteSection = ".note.stapsdt"
	usdtBaseSection = ".stapsdt.base"
	usdtNoteName    = "stapsdt"
	usdtNoteType    = 3
)

// usdtNote is one location of a USDT.
type usdtNote struct {
	provider, name, args string
	// addr is the address of the place, semaphore that of the counter or 0, as in
	// the file's program headers.
	addr, semaphore uint64
}

// usdtNotes returns the locations of all USDTs of the file.
func (f *userELF) usdtNotes() ([]usdtNote, error) {
	sec := f.Section(usdtNoteSection)
	if sec == nil {
		return nil, fmt.Errorf("%s: has no static probes: there is no section %s: %w", f.path, usdtNoteSection, fs.ErrNotExist)
	}
	data, err := sec.Data()
	if err != nil {
		return nil, fmt.Errorf("%s: section %s: %w", f.path, usdtNoteSection, err)
	}
	// prelink moves what is loaded, and not the addresses in notes. The section's
	// address, which it moves too, tells how far.
	var base uint64
	if sec := f.Section(usdtBaseSection); sec != nil {
		base = sec.Addr
	}
	var notes []usdtNote
	for len(data) > 0 {
		name, desc, typ, rest, err := f.cutNote(data)
		if err != nil {
			return nil, fmt.Errorf("%s: section %s: %w", f.path, usdtNoteSection, err)
		}
		data = rest
		if name != usdtNoteName || typ != usdtNoteType {
			continue
		}
		n, err := f.parseUSDTNote(desc, base)
		if err != nil {
			return nil, fmt.Errorf("%s: section %s: %w", f.path, usdtNoteSection, err)
		}
		notes = append(notes, n)
	}
	return notes, nil
}

var errNote = errors.New("note is damaged")

// cutNote cuts the first note off data: its name and its descriptor, each padded
// to a multiple of 4 bytes, after their lengths and a type.
func (f *userELF) cutNote(data []byte) (name string, desc []byte, typ uint32, rest []byte, err error) {
	if len(data) < 12 {
		return "", nil, 0, nil, errNote
	}
	nameLen := uint64(f.ByteOrder.Uint32(data))
	descLen := uint64(f.ByteOrder.Uint32(data[4:]))
	typ = f.ByteOrder.Uint32(data[8:])
	data = data[12:]
	padded := func(n uint64) uint64 { return (n + 3) &^ 3 }
	if padded(nameLen) > uint64(len(data)) || descLen > uint64(len(data))-padded(nameLen) {
		return "", nil, 0, nil, errNote
	}
	name = string(bytes.TrimRight(data[:nameLen], "\x00"))
	data = data[padded(nameLen):]
	desc = data[:descLen]
	return name, desc, typ, data[min(padded(descLen), uint64(len(data))):], nil
}

// parseUSDTNote parses a note's descriptor: three addresses and three strings.
func (f *userELF) parseUSDTNote(desc []byte, base uint64) (usdtNote, error) {
	word := 8
	if f.Class == elf.ELFCLASS32 {
		word = 4
	}
	if len(desc) < 3*word {
		return usdtNote{}, errNote
	}
	var addrs [3]uint64
	for i := range addrs {
		if word == 4 {
			addrs[i] = uint64(f.ByteOrder.Uint32(desc[i*word:]))
		} else {
			addrs[i] = f.ByteOrder.Uint64(desc[i*word:])
		}
	}
	text := strings.SplitN(string(desc[3*word:]), "\x00", 4)
	if len(text) != 4 {
		return usdtNote{}, errNote
	}
	n := usdtNote{provider: text[0], name: text[1], args: text[2], addr: addrs[0], semaphore: addrs[2]}
	if n.args == ":" {
		// What some versions of the assembler make of no arguments.
		n.args = ""
	}
	if base != 0 && addrs[1] != 0 {
		n.addr += base - addrs[1]
		if n.semaphore != 0 {
			n.semaphore += base - addrs[1]
		}
	}
	return n, nil
}

// usdtPlace is where a uprobe goes.
type usdtPlace struct {
	// offset and semaphore are offsets in the file; ip is the address in memory, for
	// kernels without cookies.
	offset, semaphore, ip uint64
	args                  string
}

// places returns where the probe is in the file.
func (f *userELF) places(provider, name string) ([]usdtPlace, error) {
	notes, err := f.usdtNotes()
	if err != nil {
		return nil, err
	}
	var places []usdtPlace
	for _, n := range notes {
		if n.provider != provider || n.name != name {
			continue
		}
		offset, seg, ok := f.fileOffset(n.addr)
		if !ok || seg.Flags&elf.PF_X == 0 {
			return nil, fmt.Errorf("%s: static probe %s:%s at address %#x lies in no code", f.path, provider, name, n.addr)
		}
		p := usdtPlace{offset: offset, ip: n.addr, args: n.args}
		if n.semaphore != 0 {
			semaphore, seg, ok := f.fileOffset(n.semaphore)
			if !ok || seg.Flags&elf.PF_W == 0 || semaphore-seg.Off >= seg.Filesz {
				return nil, fmt.Errorf("%s: static probe %s:%s: its counter at address %#x lies in no data that is in the file", f.path, provider, name, n.semaphore)
			}
			p.semaphore = semaphore
		}
		places = append(places, p)
	}
	if len(places) == 0 {
		return nil, fmt.Errorf("%s: has no static probe %s:%s: %w", f.path, provider, name, fs.ErrNotExist)
	}
	return places, nil
}

// usdt attaches prog to every location of a USDT.
func (o *Object) usdt(prog *ebpf.Program, path, provider, name string, opts USDTOptions) (link.Link, error) {
	f, err := openUserELF(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	places, err := f.places(provider, name)
	if err != nil {
		return nil, err
	}
	specs, ips := o.mapNamed(usdtSpecMap), o.mapNamed(usdtIPMap)
	if specs == nil || ips == nil {
		return nil, fmt.Errorf("the object has no maps %s and %s: include <bpf/usdt.bpf.h> in its source", usdtSpecMap, usdtIPMap)
	}
	cookies, err := kconfig.Virtual("LINUX_HAS_BPF_COOKIE")
	if err != nil {
		return nil, err
	}
	if cookies == 0 && f.Type == elf.ET_DYN {
		if err := addressesIn(opts.PID, f.path, places); err != nil {
			return nil, err
		}
	}
	a := &usdtAttacher{owner: o, specs: specs, ips: ips, byIP: cookies == 0, cookie: opts.Cookie}
	for _, place := range places {
		if err := a.add(prog, f.path, place, opts.PID); err != nil {
			err = fmt.Errorf("%s: static probe %s:%s: %w", f.path, provider, name, err)
			return nil, errors.Join(err, closeAll(a.links), a.release())
		}
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
}

func (a *usdtAttacher) add(prog *ebpf.Program, path string, place usdtPlace, pid int) error {
	id, err := a.spec(place.args)
	if err != nil {
		return err
	}
	at := uprobePlace{path: path, offset: place.offset, semaphore: place.semaphore, pid: pid}
	if a.byIP {
		if err := a.ips.Map().Update(place.ip, id, ebpf.UpdateNoExist); err != nil {
			return fmt.Errorf("map %s: %w: define BPF_USDT_MAX_IP_CNT above %d before the header, or attach one program only to each probe", usdtIPMap, err, a.ips.MaxEntries())
		}
		a.keys = append(a.keys, place.ip)
	} else {
		at.cookie = uint64(id)
	}
	l, err := uprobeAt(prog, at)
	if err != nil {
		return err
	}
	a.links = append(a.links, l)
	return nil
}

// spec puts the arguments of a place into the map, and returns their index.
func (a *usdtAttacher) spec(args string) (uint32, error) {
	parsed, err := parseUSDTArgs(runtime.GOARCH, args)
	if err != nil {
		return 0, err
	}
	types, err := a.owner.types()
	if err != nil {
		return 0, fmt.Errorf("types of the object: %w", err)
	}
	typ, err := typeOf(types, a.specs.decl.ValueType)
	if err != nil {
		return 0, fmt.Errorf("map %s: %w", usdtSpecMap, err)
	}
	value, err := encodeUSDTSpec(typ, parsed, a.cookie)
	if err != nil {
		return 0, fmt.Errorf("map %s: %w: its source is another version of <bpf/usdt.bpf.h>", usdtSpecMap, err)
	}
	ids := &a.owner.usdtIDs
	id, isNew := ids.take(string(value))
	if id >= a.specs.MaxEntries() {
		ids.drop(id)
		return 0, fmt.Errorf("map %s is full: define BPF_USDT_MAX_SPEC_CNT above %d before including <bpf/usdt.bpf.h>", usdtSpecMap, a.specs.MaxEntries())
	}
	a.ids = append(a.ids, id)
	if isNew {
		if err := a.specs.Map().Update(id, value, ebpf.UpdateAny); err != nil {
			return 0, fmt.Errorf("map %s: %w", usdtSpecMap, err)
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
		a.owner.usdtIDs.drop(id)
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

// encodeUSDTSpec returns a struct __bpf_usdt_spec. Where its members are is in
// the object's BTF: versions of libbpf differ.
func encodeUSDTSpec(typ btf.Type, args []usdtArg, cookie uint64) ([]byte, error) {
	st, ok := btf.As[*btf.Struct](typ)
	if !ok {
		return nil, errors.New("its values are no struct")
	}
	buf := &bitBuffer{bytes: make([]byte, st.Size)}
	array, err := member(st, "args")
	if err != nil {
		return nil, err
	}
	arr, ok := btf.As[*btf.Array](array.Type)
	if !ok {
		return nil, errors.New("member args is no array")
	}
	elem, ok := btf.As[*btf.Struct](arr.Type)
	if !ok || uint32(len(args)) > arr.Nelems {
		return nil, errors.New("member args is no array of structs that is long enough")
	}
	for i, arg := range args {
		at := uint32(array.Offset) + 8*uint32(i)*elem.Size
		signed := uint64(0)
		if arg.signed {
			signed = 1
		}
		buf.set(elem, at, "val_off", uint64(arg.value))
		buf.set(elem, at, "arg_type", uint64(arg.kind))
		buf.set(elem, at, "reg_off", uint64(arg.reg))
		buf.set(elem, at, "arg_signed", signed)
		buf.set(elem, at, "arg_bitshift", uint64(64-8*arg.size))
		if arg.kind == usdtIndexed {
			buf.set(elem, at, "idx_reg_off", uint64(arg.index))
			buf.set(elem, at, "scale_bitshift", uint64(arg.shift))
		}
	}
	buf.set(st, 0, "arg_cnt", uint64(len(args)))
	if cookie != 0 {
		buf.set(st, 0, "usdt_cookie", cookie)
	}
	return buf.bytes, buf.err
}

func member(st *btf.Struct, name string) (btf.Member, error) {
	for _, m := range st.Members {
		if m.Name == name {
			return m, nil
		}
	}
	return btf.Member{}, fmt.Errorf("struct %s has no member %s", st.Name, name)
}

// bitBuffer is memory of C structs, little-endian like the architectures whose
// arguments are known.
type bitBuffer struct {
	bytes []byte
	err   error
}

// set sets a member of the struct that begins at the bit at.
func (b *bitBuffer) set(st *btf.Struct, at uint32, name string, value uint64) {
	m, err := member(st, name)
	size := uint32(m.BitfieldSize)
	if err == nil && size == 0 {
		var n int
		n, err = btf.Sizeof(m.Type)
		size = 8 * uint32(n)
	}
	at += uint32(m.Offset)
	if err == nil && uint64(at)+uint64(size) > 8*uint64(len(b.bytes)) {
		err = fmt.Errorf("member %s of struct %s lies beyond its end", name, st.Name)
	}
	if err != nil {
		b.err = cmp.Or(b.err, err)
		return
	}
	for i := range size {
		if i < 64 && value>>i&1 != 0 {
			b.bytes[(at+i)/8] |= 1 << ((at + i) % 8)
		}
	}
}

// addressesIn sets the addresses that the places have in the memory of a process.
func addressesIn(pid int, path string, places []usdtPlace) error {
	if pid == 0 {
		return fmt.Errorf("%s: is position independent: before kernel 5.15 a static probe in it needs the process: give one with option PID", path)
	}
	file, err := os.Stat(path)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("/proc/%d/maps", pid)
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	found := make([]bool, len(places))
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// 7f00-7f10 r-xp 00002000 08:01 1234 /path
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 || !strings.Contains(fields[1], "x") {
			continue
		}
		mapped, err := os.Stat(fmt.Sprintf("/proc/%d/map_files/%s", pid, fields[0]))
		if err != nil || !os.SameFile(file, mapped) {
			continue
		}
		first, last, _ := strings.Cut(fields[0], "-")
		start, err1 := strconv.ParseUint(first, 16, 64)
		end, err2 := strconv.ParseUint(last, 16, 64)
		offset, err3 := strconv.ParseUint(fields[2], 16, 64)
		if err := errors.Join(err1, err2, err3); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for i := range places {
			if p := &places[i]; !found[i] && p.offset >= offset && p.offset-offset < end-start {
				p.ip, found[i] = start+p.offset-offset, true
			}
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if slices.Contains(found, false) {
		return fmt.Errorf("%s: process %d has not mapped it: attach after it has", path, pid)
	}
	return nil
}
