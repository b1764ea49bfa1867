package skeleton

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// The loader wires tables and programs itself, by type and member only, so that of
// two tables of one type each can have the other's programs, and registers the
// tables as it loads them. So maps of this kind are made here, by the system call.

// findOpsType returns the kernel's struct_ops type called name.
func findOpsType(name string, cache *btf.Cache) (*opsType, error) {
	wrapper := "bpf_struct_ops_" + name
	outer, spec, module, err := kernelType[*btf.Struct](wrapper, cache)
	if errors.Is(err, btf.ErrNotFound) {
		return nil, fmt.Errorf("neither the kernel nor a module has the struct_ops type %s (struct %s is not in their BTF): load the module that has it, or use another kernel: %w", name, wrapper, ebpf.ErrNotSupported)
	}
	if err != nil {
		return nil, fmt.Errorf("struct %s of the kernel: %w", wrapper, err)
	}
	defer module.Close()
	var moduleID btf.ID
	if module != nil {
		info, err := module.Info()
		if err != nil {
			return nil, err
		}
		moduleID = info.ID
	}
	id, err := spec.TypeID(outer)
	if err != nil {
		return nil, fmt.Errorf("struct %s of the kernel: %w", wrapper, err)
	}
	for _, m := range outer.Members {
		inner, ok := btf.As[*btf.Struct](m.Type)
		if ok && inner.Name == name && m.Offset.Bytes()+inner.Size <= outer.Size {
			return &opsType{typ: inner, id: id, size: outer.Size, offset: m.Offset.Bytes(), module: moduleID}, nil
		}
	}
	return nil, fmt.Errorf("struct %s of the kernel has no member of struct %s", wrapper, name)
}

// mapCreateAttr is the kernel's union bpf_attr for BPF_MAP_CREATE.
type mapCreateAttr struct {
	mapType, keySize, valueSize, maxEntries, flags uint32
	innerMapFD, numaNode                           uint32
	name                                           [unix.BPF_OBJ_NAME_LEN]byte
	ifindex                                        uint32
	btfFD, keyTypeID, valueTypeID, kernelTypeID    uint32
	extra                                          uint64
	moduleFD, tokenFD                              int32
}

// moduleType is BPF_F_VTYPE_BTF_OBJ_FD: the type is from the module's BTF.
const moduleType = 1 << 15

// createOpsMap creates a map of the type, without contents. linked says that it is
// attached through a link.
func createOpsMap(kernel *opsType, name string, linked bool) (*ebpf.Map, error) {
	attr := mapCreateAttr{
		mapType:      unix.BPF_MAP_TYPE_STRUCT_OPS,
		keySize:      4,
		valueSize:    kernel.size,
		maxEntries:   1,
		kernelTypeID: uint32(kernel.id),
	}
	// The last byte ends the name.
	copy(attr.name[:len(attr.name)-1], name)
	if linked {
		attr.flags |= unix.BPF_F_LINK
	}
	if kernel.module != 0 {
		h, err := btf.NewHandleFromID(kernel.module)
		if err != nil {
			return nil, fmt.Errorf("BTF of the module: %w", err)
		}
		defer h.Close()
		attr.flags |= moduleType
		attr.moduleFD = int32(h.FD())
	}
	// The kernel wants BTF of the object for every map with types, and looks at none
	// of it for this kind.
	b, err := btf.NewBuilder([]btf.Type{&btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}}, nil)
	if err != nil {
		return nil, err
	}
	h, err := btf.NewHandle(b)
	if err != nil {
		return nil, fmt.Errorf("load BTF: %w", err)
	}
	defer h.Close()
	attr.btfFD = uint32(h.FD())

	fd, err := bpf(unix.BPF_MAP_CREATE, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if linked && errors.Is(err, unix.EINVAL) {
		// Is it the flag that the kernel does not know?
		attr.flags &^= unix.BPF_F_LINK
		if fd, err := bpf(unix.BPF_MAP_CREATE, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); err == nil {
			unix.Close(fd)
			return nil, fmt.Errorf("the kernel has no links for struct_ops maps, which Linux 6.4 brought: put the map into section .struct_ops, or use a newer kernel: %w", ebpf.ErrNotSupported)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("create a map of type %s: %w", kernel.typ.Name, err)
	}
	return ebpf.NewMapFromFD(fd)
}

// unregisterOps takes the map from the kernel.
func unregisterOps(m *ebpf.Map) error {
	err := m.Delete(uint32(0))
	// Somebody else was faster.
	if errors.Is(err, unix.EINPROGRESS) || errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	return err
}

// updateOpsLink puts the map in the place of the one that the link has.
func updateOpsLink(linkFD int, m *ebpf.Map) error {
	attr := struct{ linkFD, newMapFD, flags, oldMapFD uint32 }{linkFD: uint32(linkFD), newMapFD: uint32(m.FD())}
	_, err := bpf(unix.BPF_LINK_UPDATE, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(m)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("the kernel does not let this map follow that of the link: they must be of one type that can be updated, and have the same name there if it has names: %w", err)
	}
	return err
}

func bpf(cmd uintptr, attr unsafe.Pointer, size uintptr) (int, error) {
	for {
		r, _, errno := unix.Syscall(unix.SYS_BPF, cmd, uintptr(attr), size)
		switch errno {
		case 0:
			return int(r), nil
		case unix.EINTR:
			continue
		}
		return -1, errno
	}
}
