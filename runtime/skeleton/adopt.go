package skeleton

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/runtime/internal/attach"
)

// AdoptPinned lets the skeleton take over from an earlier process, and a later process take
// over from this one, without a moment in which no program is attached. What is to outlast a
// process is pinned in dir, a directory of a bpffs, which AdoptPinned makes if it is missing.
// The directory is for this object alone. Every version of a program, the first one too, calls
// AdoptPinned with it between Open and Load. It changes what Load and the ways to attach do:
//
//   - Load takes over the maps that are pinned there, with what is in them, and pins those
//     that are not yet, by their names in C. A pinned map must be as this object declares
//     it: its type, sizes and flags, and the types of its keys and values where the process
//     may ask for these (CAP_SYS_ADMIN); otherwise Load fails with [ebpf.ErrMapIncompatible].
//     A version that wants another map by that name calls [UntypedMap.SetPinning] with
//     [ebpf.PinNone], or [UntypedMap.SetPinPath]. Data sections, arenas, struct_ops maps,
//     the maps of libbpf for USDTs, and those for one program
//     ([UntypedMap.SetExclusiveProgram]) are new in each process.
//   - A link of a program is pinned by the names of the program and of its target, which for an
//     interface is its index and the network namespace of the calling thread. Where one is
//     pinned already, this version's program replaces the program in it (BPF_LINK_UPDATE): on
//     XDP, TCX, netkit, cgroups, network namespaces, maps of sockets, and for struct_ops tables
//     of SEC(".struct_ops.link"). The link keeps its position and its options. A pinned link
//     that is on another target, or has a program of another type, is an error.
//   - Links that the kernel cannot update, which are those of tracing (kprobes, uprobes,
//     tracepoints, fentry, LSM), of netfilter, and of struct_ops types without an update, are
//     made anew, and take over the name of the pin: until the earlier process has ended, both
//     programs are attached, and at no time neither is. Where the kernel takes only one, as for
//     freplace, that is an error.
//   - A filter of clsact is replaced by an update. Close leaves it attached.
//   - What the kernel has no link for cannot be pinned, such as programs on sockets, those of
//     [AttachPerf], and kprobes before 5.15. Attaching it is an error, which wraps
//     [ebpf.ErrNotSupported], unless SetPinLinks(false) says that this process and its
//     successor may leave a gap. Iterators are run when they are read, and not pinned.
//
// Detach and Close leave attached what is pinned. A link's method Unpin undoes that for one;
// [RemovePinned] for all. An error of Attach detaches what was attached for the first time, and
// leaves what was taken over.
//
// A process may end at any point: the next one takes over what it leaves. When that has
// attached all that it wants, it calls [Object.RemoveStale] to get rid of what only the earlier
// version had. The earlier process may run until then, and longer; it should not attach
// anything while the later one does.
//
// Both versions share a program array: from Load on, tail calls of the earlier version's
// programs go to this one's. The kernel empties one that is not pinned when its process ends.
func (o *Object) AdoptPinned(dir string) error {
	if !isOpen(o) {
		return fmt.Errorf("adopt what is pinned: %w", ErrNotOpen)
	}
	return (*object)(o).set("directory of pins", func() error {
		pins, err := attach.NewPins(dir)
		if err == nil {
			o.pins = pins
		}
		return err
	})
}

// SetPinLinks sets whether links of the program are pinned once [Object.AdoptPinned] was
// called, which is so by default. It counts for links that are attached later, and fails with
// [ErrClosed] after Close.
func (p *BaseProgram) SetPinLinks(pin bool) error {
	return p.owner.setUntil(closed, "pinning of links of program "+p.name, func() error {
		p.unpinned = !pin
		return nil
	})
}

// SetPinLinks is [BaseProgram.SetPinLinks] for the link of the map. A map of SEC(".struct_ops")
// has none in the kernel.
func (m *StructOpsMap) SetPinLinks(pin bool) error {
	return m.object.setUntil(closed, "pinning of the link of map "+m.name, func() error {
		m.unpinned = !pin
		return nil
	})
}

// RemoveStale removes what is in the directory of [Object.AdoptPinned] and is not this
// skeleton's: pins of links that it has neither made nor taken over, and of maps that it does
// not pin, and filters of clsact in the network namespace of the calling thread. Links that are
// attached in another network namespace stay, as they may be those of another process with the
// same directory: RemoveStale that is called there removes them. It returns what it has
// removed. A program whose link is removed is detached as soon as no process has the link open.
func (o *Object) RemoveStale() (removed []string, err error) {
	if !isOpen(o) {
		return nil, fmt.Errorf("remove what is stale: %w", ErrNotOpen)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if removed, err = (*object)(o).removeStale(); err != nil {
		return removed, fmt.Errorf("remove what is stale of %s: %w", o.name, err)
	}
	return removed, nil
}

func (o *object) removeStale() ([]string, error) {
	switch {
	case o.state == closed:
		return nil, ErrClosed
	case o.state < loaded:
		return nil, ErrNotLoaded
	case o.pins == nil:
		return nil, errors.New("AdoptPinned was not called: call it between Open and Load")
	}
	return o.pins.RemoveStale(func(path string) bool {
		return slices.ContainsFunc(o.maps, func(m *UntypedMap) bool { return m.def.PinPath == path })
	})
}

// RemovePinned removes all that skeletons have left in a directory of [Object.AdoptPinned],
// links in any network namespace included, the filters of clsact in the network namespace of
// the calling thread, and the directory itself. Programs are detached as soon as no process has
// their links open. A directory that is not there is no error.
func RemovePinned(dir string) error {
	if err := attach.RemovePinned(dir); err != nil {
		return fmt.Errorf("remove what is pinned in %s: %w", dir, err)
	}
	return nil
}

// adoptMaps sets the pin paths of the maps that outlast the process.
func (o *object) adoptMaps(LoadOptions) error {
	if o.pins == nil {
		return nil
	}
	for _, m := range o.maps {
		if m.def.Kind != image.DeclaredMap || m.def.Type == ebpf.Arena || strings.HasPrefix(m.name, "__bpf_usdt_") {
			continue
		}
		m.def.SameTypes = true
		switch {
		case m.pinningSet || m.def.PinByName:
		case m.def.Exclusive != nil:
			// The program of the next version has other code, for which the kernel refuses the
			// map. A call that failed before SetExclusiveProgram may have set the path.
			m.def.PinPath = ""
		default:
			m.def.PinPath = o.pins.MapPath(m.name)
		}
	}
	return nil
}

// pinsOf returns where links are pinned, nil when they are not.
func (o *object) pinsOf(unpinned bool) *attach.Pins {
	if unpinned {
		return nil
	}
	return o.pins
}
