//go:build linux

package differential

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls are made directly, as a library that reads the answers may be what is wrong.

// Release returns the release of the running kernel, as uname -r does.
func Release() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", os.NewSyscallError("uname", err)
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}

// progInfo is struct bpf_prog_info.
type progInfo struct {
	Type, ID                uint32
	Tag                     [8]byte
	JitedLen, XlatedLen     uint32
	Jited, Xlated, LoadTime uint64
	CreatedByUID, NrMapIDs  uint32
	MapIDs                  uint64
	Name                    [16]byte
	Ifindex, GPLCompatible  uint32
	NetnsDev, NetnsIno      uint64
	NrKsyms, NrFuncLens     uint32
	Ksyms, FuncLens         uint64
	BTF, FuncInfoRecSize    uint32
	FuncInfo                uint64
	NrFuncInfo, NrLineInfo  uint32
	LineInfo, JitedLineInfo uint64
	NrJitedLineInfo         uint32
	LineInfoRecSize         uint32
	JitedLineInfoRecSize    uint32
	NrTags                  uint32
	Tags                    uint64
	RunTimeNs, RunCnt       uint64
	RecursionMisses         uint64
	VerifiedInsns           uint32
	AttachBTFObj, AttachBTF uint32
	_                       uint32
}

// mapInfo is struct bpf_map_info.
type mapInfo struct {
	Type, ID, KeySize, ValueSize uint32
	MaxEntries, Flags            uint32
	Name                         [16]byte
	Ifindex, VmlinuxValueType    uint32
	NetnsDev, NetnsIno           uint64
	BTF, KeyType, ValueType      uint32
	VmlinuxBTF                   uint32
	Extra                        uint64
}

// btfInfo is struct bpf_btf_info.
type btfInfo struct {
	BTF             uint64
	Size, ID        uint32
	Name            uint64
	NameLen, Kernel uint32
}

// bpf calls bpf(2).
func bpf[T any](cmd int, attr *T) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(cmd), uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
	runtime.KeepAlive(attr)
	if errno != 0 {
		return 0, errno
	}
	return int(fd), nil
}

// byID opens what has an ID in the kernel.
func byID(cmd int, id uint32) (int, error) {
	attr := struct{ ID, Next, Flags uint32 }{ID: id}
	return bpf(cmd, &attr)
}

// info asks what the kernel knows of a descriptor.
func info[T any](fd int, info *T) error {
	attr := struct {
		FD, Len uint32
		Info    uint64
	}{uint32(fd), uint32(unsafe.Sizeof(*info)), address(info)}
	_, err := bpf(unix.BPF_OBJ_GET_INFO_BY_FD, &attr)
	return err
}

// address is where the kernel writes to. The caller keeps it alive.
func address[T any](p *T) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }

// programInfo returns what the kernel knows of a program, with its instructions, and the
// records for functions and lines.
func programInfo(fd int) (out progInfo, code, funcs, lines []byte, err error) {
	if err := info(fd, &out); err != nil {
		return out, nil, nil, nil, err
	}
	code = make([]byte, out.XlatedLen)
	funcs = make([]byte, out.NrFuncInfo*out.FuncInfoRecSize)
	lines = make([]byte, out.NrLineInfo*out.LineInfoRecSize)
	in := progInfo{
		XlatedLen:       out.XlatedLen,
		NrFuncInfo:      out.NrFuncInfo,
		FuncInfoRecSize: out.FuncInfoRecSize,
		NrLineInfo:      out.NrLineInfo,
		LineInfoRecSize: out.LineInfoRecSize,
	}
	for _, buf := range []struct {
		to   *uint64
		from []byte
	}{{&in.Xlated, code}, {&in.FuncInfo, funcs}, {&in.LineInfo, lines}} {
		if len(buf.from) > 0 {
			*buf.to = address(&buf.from[0])
		}
	}
	err = info(fd, &in)
	runtime.KeepAlive(code)
	runtime.KeepAlive(funcs)
	runtime.KeepAlive(lines)
	return in, code, funcs, lines, err
}

// rawBTF returns the BTF with an ID.
func rawBTF(id uint32) ([]byte, error) {
	fd, err := byID(unix.BPF_BTF_GET_FD_BY_ID, id)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var size btfInfo
	if err := info(fd, &size); err != nil {
		return nil, err
	}
	data := make([]byte, size.Size)
	in := btfInfo{BTF: address(&data[0]), Size: size.Size}
	err = info(fd, &in)
	runtime.KeepAlive(data)
	return data, err
}

// frozen reports whether user space may not write to a map any more.
func frozen(fd int) (bool, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	return bytes.Contains(data, []byte("frozen:\t1\n")), err
}

// lookup reads an element of a map, and next finds the key after one, the first without.
func lookup(fd int, key, value []byte) error {
	attr := struct {
		FD         uint32
		Key, Value uint64
		Flags      uint64
	}{FD: uint32(fd), Key: address(&key[0]), Value: address(&value[0])}
	_, err := bpf(unix.BPF_MAP_LOOKUP_ELEM, &attr)
	runtime.KeepAlive(key)
	runtime.KeepAlive(value)
	return err
}

func next(fd int, key, after []byte) error {
	attr := struct {
		FD        uint32
		Key, Next uint64
	}{FD: uint32(fd), Next: address(&key[0])}
	if after != nil {
		attr.Key = address(&after[0])
	}
	_, err := bpf(unix.BPF_MAP_GET_NEXT_KEY, &attr)
	runtime.KeepAlive(key)
	runtime.KeepAlive(after)
	return err
}
