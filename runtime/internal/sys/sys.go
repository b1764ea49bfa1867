// Package sys has the calls of the bpf(2) system call that the runtime makes itself.
//
// File descriptors are plain numbers. They are closed on exec, are never 0, 1 or 2, and
// belong to the caller, who closes them with [Close] or gives them away, once.
package sys

import (
	"encoding/binary"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// Cmd is a command of bpf(2): enum bpf_cmd of linux/bpf.h.
type Cmd uint32

// The commands that the runtime uses.
const (
	MapCreateCmd              Cmd = 0
	MapLookupElemCmd          Cmd = 1
	MapUpdateElemCmd          Cmd = 2
	MapDeleteElemCmd          Cmd = 3
	MapGetNextKeyCmd          Cmd = 4
	ProgLoadCmd               Cmd = 5
	ObjPinCmd                 Cmd = 6
	ObjGetCmd                 Cmd = 7
	ProgFDByIDCmd             Cmd = 13
	MapFDByIDCmd              Cmd = 14
	ObjInfoByFDCmd            Cmd = 15
	RawTPOpenCmd              Cmd = 17
	BTFLoadCmd                Cmd = 18
	BTFFDByIDCmd              Cmd = 19
	MapLookupAndDeleteElemCmd Cmd = 21
	MapFreezeCmd              Cmd = 22
	BTFNextIDCmd              Cmd = 23
	MapUpdateBatchCmd         Cmd = 26
	LinkCreateCmd             Cmd = 28
	LinkUpdateCmd             Cmd = 29
	ProgBindMapCmd            Cmd = 35
	TokenCreateCmd            Cmd = 36
	ProgStreamReadCmd         Cmd = 37
	ProgAssocStructOpsCmd     Cmd = 38
)

// returnsFD reports whether the command returns a descriptor.
func (c Cmd) returnsFD() bool {
	switch c {
	case MapCreateCmd, ProgLoadCmd, ObjGetCmd, ProgFDByIDCmd, MapFDByIDCmd, RawTPOpenCmd, BTFLoadCmd, BTFFDByIDCmd, LinkCreateCmd, TokenCreateCmd:
		return true
	}
	return false
}

// MapType is that of the kernel: enum bpf_map_type. ebpf.MapType has the same numbers on
// Linux.
type MapType uint32

// The types of maps that the runtime treats in a way of their own.
const (
	Hash      MapType = 1
	Array     MapType = 2
	StructOps MapType = 26
	InsnArray MapType = 34
)

// Flags of map creation: BPF_F_*.
const (
	NoPrealloc  = 1 << 0
	RdonlyProg  = 1 << 7
	Mmapable    = 1 << 10
	Link        = 1 << 13
	VtypeBTF    = 1 << 15
	SegvOnFault = 1 << 17
)

// tokenFD is BPF_F_TOKEN_FD, the flag for maps, programs and BTF that come with a token.
const tokenFD = 1 << 16

// ENOTSUPP is an error of the kernel's own, which it lets escape here and there, and which
// user space has no name for.
const ENOTSUPP = syscall.Errno(524)

// NameLen is how many bytes a name in the kernel has, with the zero that ends it.
const NameLen = 16

// Name returns the name as the kernel takes it, cut to what fits.
func Name(s string) (name [NameLen]byte) {
	copy(name[:NameLen-1], s)
	return name
}

// Text returns what is before the first zero.
func Text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// PointerTo returns the address of *p as the kernel takes it. What it points to is alive
// for as long as the attributes that have it.
func PointerTo[T any](p *T) Pointer { return Pointer{p: unsafe.Pointer(p)} }

// PointerToSlice returns the address of the first element, NULL when there is none.
func PointerToSlice[T any](s []T) Pointer {
	if len(s) == 0 {
		return Pointer{}
	}
	return Pointer{p: unsafe.Pointer(unsafe.SliceData(s))}
}

// CString returns the text as C has it. It must not have zeros.
func CString(s string) Pointer {
	b := make([]byte, len(s)+1)
	copy(b, s)
	return PointerToSlice(b)
}

// MapCreateAttr is union bpf_attr for BPF_MAP_CREATE.
type MapCreateAttr struct {
	Type                                          MapType
	KeySize, ValueSize, MaxEntries, Flags         uint32
	InnerMapFD, NUMANode                          uint32
	Name                                          [NameLen]byte
	Ifindex                                       uint32
	BTFFD, KeyTypeID, ValueTypeID, VmlinuxValueID uint32
	Extra                                         uint64
	// ModuleBTFFD is that of the module whose BTF VmlinuxValueID is from.
	ModuleBTFFD, TokenFD int32
	// ProgHash is that of the program that the map is for alone, of ProgHashSize bytes.
	ProgHash     Pointer
	ProgHashSize uint32
	// end is zero: the kernel checks the bytes up to the end of the attributes.
	end uint32
}

// UseToken has the kernel ask a token for the capabilities. 0 stands for none.
func (m *MapCreateAttr) UseToken(fd int) {
	if fd != 0 {
		m.TokenFD, m.Flags = int32(fd), m.Flags|tokenFD
	}
}

// ProgLoadAttr is union bpf_attr for BPF_PROG_LOAD.
type ProgLoadAttr struct {
	Type, InsnCount      uint32
	Insns, License       Pointer
	LogLevel, LogSize    uint32
	Log                  Pointer
	KernelVersion, Flags uint32
	Name                 [NameLen]byte
	Ifindex, AttachType  uint32
	BTFFD, FuncInfoSize  uint32
	FuncInfo             Pointer
	FuncInfoCount        uint32
	LineInfoSize         uint32
	LineInfo             Pointer
	LineInfoCount        uint32
	AttachBTFID          uint32
	// AttachFD is of a program or of the BTF of a module.
	AttachFD, CORECount uint32
	FDArray             Pointer
	CORE                Pointer
	CORESize            uint32
	// LogTrueSize is set by the kernel, since 6.4.
	LogTrueSize  uint32
	TokenFD      int32
	FDArrayCount uint32
}

// UseToken has the kernel ask a token for the capabilities. 0 stands for none.
func (p *ProgLoadAttr) UseToken(fd int) {
	if fd != 0 {
		p.TokenFD, p.Flags = int32(fd), p.Flags|tokenFD
	}
}

// BTFLoadAttr is union bpf_attr for BPF_BTF_LOAD.
type BTFLoadAttr struct {
	BTF, Log           Pointer
	Size, LogSize      uint32
	LogLevel           uint32
	LogTrueSize, Flags uint32
	TokenFD            int32
}

// UseToken has the kernel ask a token for the capabilities. 0 stands for none.
func (b *BTFLoadAttr) UseToken(fd int) {
	if fd != 0 {
		b.TokenFD, b.Flags = int32(fd), b.Flags|tokenFD
	}
}

// LinkCreateAttr is union bpf_attr for BPF_LINK_CREATE. Kind is what depends on the kind of
// link.
type LinkCreateAttr[K any] struct {
	// TargetFD is a network interface's index for some.
	ProgFD, TargetFD, AttachType, Flags uint32
	Kind                                K
}

// Cookie is the attributes of links on perf events.
type Cookie uint64

// TracingLink is the attributes of links of tracing programs.
type TracingLink struct {
	TargetBTFID, _ uint32
	Cookie         uint64
}

// IterLink is the attributes of links of iterators. Info points to a union bpf_iter_link_info.
type IterLink struct {
	Info    Pointer
	Size, _ uint32
}

// UprobeMultiLink is the attributes of links on many uprobes. RefCtrOffsets and Cookies are
// NULL or have one for each of Offsets.
type UprobeMultiLink struct {
	Path, Offsets, RefCtrOffsets, Cookies Pointer
	Count, Flags, PID, _                  uint32
}

// PlacedLink is the attributes of links on hooks that run several programs in an order.
type PlacedLink struct {
	// Relative is a descriptor or an ID, as the flags say.
	Relative, _      uint32
	ExpectedRevision uint64
}

// MapInfo is struct bpf_map_info.
type MapInfo struct {
	Type                                  MapType
	ID                                    uint32
	KeySize, ValueSize, MaxEntries, Flags uint32
	Name                                  [NameLen]byte
	Ifindex, VmlinuxValueID               uint32
	NetnsDev, NetnsIno                    uint64
	BTFID, KeyTypeID, ValueTypeID         uint32
	VmlinuxID                             uint32
	Extra                                 uint64
}

// BTFInfo is struct bpf_btf_info.
type BTFInfo struct {
	BTF                Pointer
	Size, ID           uint32
	Name               Pointer
	NameLen, KernelBTF uint32
}

// ProgInfo is struct bpf_prog_info, as far as it is used.
type ProgInfo struct {
	Type, ID                  uint32
	Tag                       [8]byte
	JitedLen, XlatedLen       uint32
	Jited, Xlated             Pointer
	LoadTime                  uint64
	UID, MapCount             uint32
	Maps                      Pointer
	Name                      [NameLen]byte
	Ifindex, GPL              uint32
	NetnsDev, NetnsIno        uint64
	KsymCount, FuncLenCount   uint32
	Ksyms, FuncLens           Pointer
	BTFID, FuncInfoSize       uint32
	FuncInfo                  Pointer
	FuncInfoCount, LineCount  uint32
	LineInfo, JitedLineInfo   Pointer
	JitedLineCount, LineSize  uint32
	JitedLineSize, TagCount   uint32
	Tags                      Pointer
	RunTime, RunCount, Misses uint64
	VerifiedInsns             uint32
	AttachBTFObjID            uint32
	AttachBTFID, _            uint32
}

// LinkInfo is struct bpf_link_info, as far as it is used.
type LinkInfo struct {
	// Type is that of enum bpf_link_type, which has the numbers of link.Type.
	Type, ID, ProgID, _ uint32
	// Of has what depends on the type: struct bpf_link_info has a union there.
	Of [16]byte
}

// Word returns the field of Of that is a __u32 at an offset.
func (l *LinkInfo) Word(offset int) uint32 { return binary.NativeEndian.Uint32(l.Of[offset:]) }

// MapCreate creates a map and returns its descriptor.
func MapCreate(attr *MapCreateAttr) (int, error) {
	if attr.isSmall() {
		return bpfBriefly(MapCreateCmd, attr)
	}
	return bpf(MapCreateCmd, attr)
}

// isSmall reports whether the kernel makes the map in a moment. Maps with an element for
// each CPU may be large, and those of other types may wait for something.
func (m *MapCreateAttr) isSmall() bool {
	const most = 256 << 10
	size := uint64(m.KeySize) + uint64(m.ValueSize)
	return (m.Type == Array || m.Type == Hash) && m.MaxEntries <= most && size*uint64(m.MaxEntries) <= most
}

// LinkCreate attaches a program and returns the descriptor of the link.
func LinkCreate[K any](attr *LinkCreateAttr[K]) (int, error) { return bpf(LinkCreateCmd, attr) }

// RawTPOpen attaches a program to a tracepoint of the kernel and returns the descriptor of
// the link.
func RawTPOpen(prog int, name string, cookie uint64) (int, error) {
	attr := struct {
		name    Pointer
		prog, _ uint32
		cookie  uint64
	}{name: CString(name), prog: uint32(prog), cookie: cookie}
	return bpf(RawTPOpenCmd, &attr)
}

// BTFLoad loads BTF into the kernel and returns its descriptor.
func BTFLoad(attr *BTFLoadAttr) (int, error) {
	const small = 64 << 10
	if attr.Size <= small {
		return bpfBriefly(BTFLoadCmd, attr)
	}
	return bpf(BTFLoadCmd, attr)
}

// TokenCreate returns the descriptor of a token from the bpffs whose root a descriptor is of.
func TokenCreate(bpffs int) (int, error) {
	attr := struct{ flags, bpffs uint32 }{bpffs: uint32(bpffs)}
	return bpf(TokenCreateCmd, &attr)
}

// elemAttr is union bpf_attr for BPF_MAP_*_ELEM.
type elemAttr struct {
	fd, _      uint32
	key, value Pointer
	flags      uint64
}

// MapUpdate sets an element.
func MapUpdate(fd int, key, value Pointer, flags uint64) error {
	_, err := bpf(MapUpdateElemCmd, &elemAttr{fd: uint32(fd), key: key, value: value, flags: flags})
	return err
}

// MapElem makes a call on an element of a map: to look it up, update, delete, or find the
// key that follows its key, which then is what value points to. Memory on the caller's
// stack stays there: nothing keeps key or value.
func MapElem(cmd Cmd, fd int, key, value unsafe.Pointer, flags uint64) error {
	attr := elemAttr{fd: uint32(fd), key: Pointer{p: key}, value: Pointer{p: value}, flags: flags}
	_, err := Bpf(cmd, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}

// MapUpdateBatch sets count elements, whose keys and values are one after the other, and
// returns how many it has set. If the kernel fails before it has set the number,
// count is returned.
func MapUpdateBatch(fd int, keys, values unsafe.Pointer, count int) (done int, err error) {
	attr := struct {
		in, out, keys, values Pointer
		count, fd             uint32
		elemFlags, flags      uint64
	}{keys: Pointer{p: keys}, values: Pointer{p: values}, count: uint32(count), fd: uint32(fd)}
	_, err = bpf(MapUpdateBatchCmd, &attr)
	return int(attr.count), err
}

// MapFreeze keeps user space from writing to the map.
func MapFreeze(fd int) error {
	attr := struct{ fd uint32 }{uint32(fd)}
	_, err := bpf(MapFreezeCmd, &attr)
	return err
}

// objAttr is union bpf_attr for BPF_OBJ_*.
type objAttr struct {
	path      Pointer
	fd, flags uint32
	_         int32
	_         uint32
}

// ObjPin pins the object of the descriptor. It fails with fs.ErrExist when there is something
// at the path.
func ObjPin(fd int, path string) error {
	_, err := bpf(ObjPinCmd, &objAttr{path: CString(path), fd: uint32(fd)})
	return err
}

// ObjGet returns a descriptor of the object that is pinned at the path. flags are BPF_F_RDONLY
// and BPF_F_WRONLY.
func ObjGet(path string, flags uint32) (int, error) {
	return bpf(ObjGetCmd, &objAttr{path: CString(path), flags: flags})
}

// ProgBindMap keeps the map for as long as the program, which then lists it.
func ProgBindMap(prog, m int) error {
	attr := struct{ prog, m, flags uint32 }{prog: uint32(prog), m: uint32(m)}
	_, err := bpf(ProgBindMapCmd, &attr)
	return err
}

// ProgAssocStructOps associates a struct_ops map with a program, for kfuncs that take the map
// from there.
func ProgAssocStructOps(prog, m int) error {
	attr := struct{ m, prog, flags uint32 }{m: uint32(m), prog: uint32(prog)}
	_, err := bpf(ProgAssocStructOpsCmd, &attr)
	return err
}

// ProgStreamRead reads from a stream of a program, BPF_STREAM_STDOUT (1) or BPF_STREAM_STDERR
// (2), and returns how many bytes, 0 when nothing is there.
func ProgStreamRead(prog int, stream uint32, buf []byte) (int, error) {
	attr := struct {
		buf               Pointer
		len, stream, prog uint32
		// The kernel requires zeros up to the end, and Go leaves the padding between fields as
		// it is.
		end uint32
	}{buf: PointerToSlice(buf), len: uint32(min(len(buf), 1<<30)), stream: stream, prog: uint32(prog)}
	return bpf(ProgStreamReadCmd, &attr)
}

// GetFDByID returns a descriptor of the object with the ID: cmd is one of *FDByIDCmd.
func GetFDByID(cmd Cmd, id uint32) (int, error) {
	attr := struct{ id, next, flags uint32 }{id: id}
	return bpf(cmd, &attr)
}

// GetNextID returns the ID of the first object after that with an ID: cmd is one of
// *NextIDCmd. It fails with fs.ErrNotExist when there is none.
func GetNextID(cmd Cmd, id uint32) (uint32, error) {
	attr := struct{ id, next, flags uint32 }{id: id}
	_, err := bpf(cmd, &attr)
	return attr.next, err
}

// GetInfoByFD fills in what the kernel knows of the descriptor's object: I is MapInfo or
// the like. Fields that it does not know stay as they are.
func GetInfoByFD[I any](fd int, info *I) error {
	attr := struct {
		fd, size uint32
		info     Pointer
	}{uint32(fd), uint32(unsafe.Sizeof(*info)), PointerTo(info)}
	_, err := bpf(ObjInfoByFDCmd, &attr)
	return err
}

func bpf[A any](cmd Cmd, attr *A) (int, error) {
	return call(cmd, unsafe.Pointer(attr), unsafe.Sizeof(*attr), false)
}

// bpfBriefly is bpf for a call that takes the kernel no time worth noting.
func bpfBriefly[A any](cmd Cmd, attr *A) (int, error) {
	return call(cmd, unsafe.Pointer(attr), unsafe.Sizeof(*attr), true)
}

// fault is what [SetFault] has set.
var fault atomic.Pointer[func(Cmd) error]

// SetFault makes every call ask f first, and fail with its error unless that is nil. It
// is for tests that show what is left when a call fails; f may be called by several
// goroutines at once. restore ends it.
func SetFault(f func(Cmd) error) (restore func()) {
	fault.Store(&f)
	return func() { fault.Store(nil) }
}

// Fault returns the error that [SetFault] wants for a call that others make in place of
// this package.
func Fault(cmd Cmd) error {
	if f := fault.Load(); f != nil {
		return (*f)(cmd)
	}
	return nil
}
