package skeleton

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// unregisterOps takes the map from the kernel.
func unregisterOps(m *ebpf.Map) error {
	err := m.Delete(uint32(0))
	// Another call was faster.
	if errors.Is(err, unix.EINPROGRESS) || errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	return err
}

// updateOpsLink puts the map in the place of the one that the link has.
func updateOpsLink(linkFD int, m *ebpf.Map) error {
	attr := struct{ linkFD, newMapFD, flags, oldMapFD uint32 }{linkFD: uint32(linkFD), newMapFD: uint32(m.FD())}
	_, err := sys.Bpf(sys.LinkUpdateCmd, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(m)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("the kernel does not let this map follow that of the link: they must be of one type that can be updated, and have the same name there if it has names: %w", err)
	}
	return err
}
