package loader

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// mapsSince are the versions of Linux that brought types of maps, of those that came after
// the oldest kernels that people still run.
var mapsSince = map[ebpf.MapType][2]uint32{
	ebpf.RingBuf:       {5, 8},
	ebpf.InodeStorage:  {5, 10},
	ebpf.TaskStorage:   {5, 11},
	ebpf.BloomFilter:   {5, 16},
	ebpf.UserRingbuf:   {6, 1},
	ebpf.CgroupStorage: {6, 2},
	ebpf.Arena:         {6, 9},
}

// explainCreate explains what the kernel may mean when it refuses a map with EINVAL.
func explainCreate(attr *sys.MapCreateAttr, err error, version uint32) error {
	if attr.ProgHashSize != 0 && version < 6<<16|18<<8 && (errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.E2BIG)) {
		return fmt.Errorf("%w: a map that one program alone may use needs a kernel of version 6.18 or later: call SetExclusiveProgram(nil): %w", err, ebpf.ErrNotSupported)
	}
	if !errors.Is(err, syscall.EINVAL) {
		return err
	}
	typ := ebpf.MapType(attr.Type)
	since := mapsSince[typ]
	isStorage := storesLocally(typ)
	switch noPrealloc := attr.Flags&sys.NoPrealloc != 0; {
	case version>>8 < since[0]<<8|since[1]:
		return fmt.Errorf("%w: maps of type %v need a kernel of version %d.%d or later, and this one is %d.%d: leave it out with SetAutocreate(false): %w",
			err, typ, since[0], since[1], version>>16, version>>8&0xff, ebpf.ErrNotSupported)
	case attr.MaxEntries == 0 && !isStorage:
		return fmt.Errorf("%w: it has no max_entries: declare them, or call SetMaxEntries", err)
	case attr.MaxEntries != 0 && isStorage:
		return fmt.Errorf("%w: a map of type %v takes no max_entries: remove them", err, typ)
	case isStorage && typ != ebpf.CGroupStorage && typ != ebpf.PerCPUCGroupStorage && !noPrealloc:
		return fmt.Errorf("%w: a map of type %v must be declared with map_flags BPF_F_NO_PREALLOC", err, typ)
	}
	return err
}

// storesLocally reports whether maps of the type keep their values with the objects of the
// kernel that they are about.
func storesLocally(t ebpf.MapType) bool {
	switch t {
	case ebpf.SkStorage, ebpf.InodeStorage, ebpf.TaskStorage, ebpf.CgroupStorage, ebpf.CGroupStorage, ebpf.PerCPUCGroupStorage:
		return true
	}
	return false
}
