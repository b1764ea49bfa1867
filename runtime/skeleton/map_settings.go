package skeleton

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/runtime/internal/attach"
	"github.com/rules-bpf/rules_bpf/runtime/internal/loader"
)

// The methods of this file read and change the definition that Load makes a map of, and
// say which function of libbpf does the same. Those that change it fail with [ErrLoaded]
// after Load and with [ErrClosed] after Close. An error that the caller ignores is returned
// by Load, unless the same setting is made in the meantime. Settings of one map are made by
// one goroutine at a time, and not read meanwhile.

// set makes a setting of the map that all maps have.
func (m *UntypedMap) set(setting string, change func(*loader.Map) error) error {
	m = m.origin()
	setting += " of map " + m.name
	if m.owner == nil {
		return fmt.Errorf("set %s: the map exists already, and belongs to no skeleton", setting)
	}
	return m.owner.set(setting, func() error { return change(m.def) })
}

// setMade is set for settings that a struct_ops map does not have: its table and the kernel's
// type decide these.
func (m *UntypedMap) setMade(setting string, change func(*loader.Map) error) error {
	return m.set(setting, func(def *loader.Map) error {
		if m.origin().isStructOps() {
			return errors.New("a struct_ops map is as its table and the kernel say")
		}
		return change(def)
	})
}

// setOwn is setMade for settings that the map of a data section does not have: its variables
// decide these.
func (m *UntypedMap) setOwn(setting string, change func(*loader.Map) error) error {
	return m.setMade(setting, func(def *loader.Map) error {
		if def.Kind.IsSection() {
			return errors.New("the map is as the variables of its section are: an array at its end is resized with the skeleton's method Resize<Section>, or Variable.ResizeArray")
		}
		return change(def)
	})
}

// Type returns the map's type (bpf_map__type).
func (m *UntypedMap) Type() ebpf.MapType { return m.definition().Type }

// KeySize returns the size of a key in bytes (bpf_map__key_size).
func (m *UntypedMap) KeySize() uint32 { return m.definition().KeySize }

// ValueSize returns the size of a value in bytes, for one CPU in a map that has a value
// for each (bpf_map__value_size).
func (m *UntypedMap) ValueSize() uint32 { return m.definition().ValueSize }

// MaxEntries returns how many entries Load makes the map for: bytes for a ring buffer,
// pages for an arena. Without one in the declaration, it is 0 (bpf_map__max_entries).
func (m *UntypedMap) MaxEntries() uint32 { return m.definition().MaxEntries }

// Flags returns the flags of map creation, BPF_F_* of linux/bpf.h (bpf_map__map_flags).
func (m *UntypedMap) Flags() uint32 { return m.definition().Flags }

// Extra returns map_extra: the number of hash functions of a bloom filter, the address
// of an arena (bpf_map__map_extra).
func (m *UntypedMap) Extra() uint64 { return m.definition().Extra }

// NUMANode returns the node of BPF_F_NUMA_NODE (bpf_map__numa_node).
func (m *UntypedMap) NUMANode() uint32 { return m.definition().NUMANode }

// Ifindex returns the network device that the map is made for, 0 for none
// (bpf_map__ifindex).
func (m *UntypedMap) Ifindex() int { return int(m.definition().Ifindex) }

// Pinning returns whether Load pins the map by its name.
func (m *UntypedMap) Pinning() ebpf.PinType {
	if m.definition().PinByName {
		return ebpf.PinByName
	}
	return ebpf.PinNone
}

// PinPath returns where Load pins the map, empty unless SetPinPath has set it
// (bpf_map__pin_path).
func (m *UntypedMap) PinPath() string { return m.definition().PinPath }

// Autocreate reports whether Load makes the map (bpf_map__autocreate). It is true unless it
// was set, or the map is a struct_ops map whose section's name starts with "?".
func (m *UntypedMap) Autocreate() bool {
	if auto := m.origin().autocreate(); auto != nil {
		return *auto
	}
	return false
}

// autocreate returns a pointer to what SetAutocreate sets, nil for a map that no skeleton has.
func (m *UntypedMap) autocreate() *bool {
	switch {
	case m.def == nil:
		return nil
	case m.isStructOps():
		return &m.owner.structOpsMap(m.name).ops.Autocreate
	}
	return &m.def.Autocreate
}

// isStructOps reports whether the map is that of a struct_ops table.
func (m *UntypedMap) isStructOps() bool { return m.def != nil && m.def.Type == ebpf.StructOpsMap }

// definition returns what Load makes the map of. For a map that is there already, and
// that no skeleton has, it is what the kernel says.
func (m *UntypedMap) definition() *loader.Map {
	m = m.origin()
	if m.def != nil {
		return m.def
	}
	def := new(loader.Map)
	if k := m.loaded.Load(); k != nil {
		def.Type, def.KeySize, def.ValueSize, def.MaxEntries, def.Flags = k.Type(), k.KeySize(), k.ValueSize(), k.MaxEntries(), k.Flags()
	} else if m.fake != nil {
		f := m.fake.Spec()
		def.Type, def.KeySize, def.ValueSize, def.MaxEntries = f.Type, f.KeySize, f.ValueSize, f.MaxEntries
	}
	return def
}

// SetType sets the map's type (bpf_map__set_type). The methods of the handle stay those of
// the declared type, and those for elements fail when that has elements of other sizes: where
// only one of the two has a value for each CPU, say. [UntypedMap.Map] is what works then.
func (m *UntypedMap) SetType(typ ebpf.MapType) error {
	return m.setOwn("type", func(def *loader.Map) error {
		if typ == ebpf.UnspecifiedMap {
			return errors.New("the type is unspecified: give one of the map types of package ebpf")
		}
		if typ == ebpf.StructOpsMap {
			return errors.New("a struct_ops map is made of a table: declare one in C")
		}
		def.Type = typ
		return nil
	})
}

// SetKeySize sets the size of a key in bytes (bpf_map__set_key_size). A handle with Go types
// takes no other size than that of its type.
func (m *UntypedMap) SetKeySize(size uint32) error {
	return m.setSizes("key size", func(def *loader.Map) { def.KeySize, def.KeyType = size, 0 })
}

// SetValueSize sets the size of a value in bytes (bpf_map__set_value_size). A handle with Go
// types takes no other size than that of its type.
func (m *UntypedMap) SetValueSize(size uint32) error {
	return m.setSizes("value size", func(def *loader.Map) { def.ValueSize, def.ValueType = size, 0 })
}

func (m *UntypedMap) setSizes(setting string, change func(*loader.Map)) error {
	return m.setOwn(setting, func(def *loader.Map) error {
		changed := *def
		change(&changed)
		if changed.KeySize == def.KeySize && changed.ValueSize == def.ValueSize {
			return nil
		}
		for _, h := range append(m.origin().shared, m.origin()) {
			if err := h.checkSizes(changed.KeySize, changed.ValueSize); err != nil {
				return err
			}
		}
		// The kernel compares the types with both sizes.
		changed.KeyType, changed.ValueType = 0, 0
		*def = changed
		return nil
	})
}

// SetMaxEntries sets how many entries Load makes the map for (bpf_map__set_max_entries):
// bytes for a ring buffer, which Load rounds up to what the kernel takes, a power of two of
// pages; pages for an arena. 0 is for types that have as many as there are of something
// else: perf event arrays get the number of CPUs.
func (m *UntypedMap) SetMaxEntries(n uint32) error {
	return m.setOwn("max entries", func(def *loader.Map) error {
		switch def.Type {
		case ebpf.PerfEventArray:
		case ebpf.SkStorage, ebpf.InodeStorage, ebpf.TaskStorage, ebpf.CgroupStorage, ebpf.PerCPUCGroupStorage, ebpf.CGroupStorage:
			if n != 0 {
				return fmt.Errorf("maps of type %v have no limit: leave it at 0", def.Type)
			}
		default:
			if n == 0 {
				return errors.New("0 is not a number of entries: give how many the map is to hold")
			}
		}
		if (def.Type == ebpf.RingBuf || def.Type == ebpf.UserRingbuf) && n > 1<<31 {
			return fmt.Errorf("%d bytes are more than a ring buffer can have: give %d or fewer", n, uint32(1<<31))
		}
		def.MaxEntries = n
		return nil
	})
}

// SetFlags sets the flags of map creation, BPF_F_* of linux/bpf.h, all of them
// (bpf_map__set_map_flags).
func (m *UntypedMap) SetFlags(flags uint32) error {
	return m.setMade("flags", func(def *loader.Map) error {
		def.Flags = flags
		return nil
	})
}

// SetExtra sets map_extra (bpf_map__set_map_extra).
func (m *UntypedMap) SetExtra(extra uint64) error {
	return m.setOwn("map_extra", func(def *loader.Map) error {
		def.Extra = extra
		return nil
	})
}

// SetNUMANode makes the kernel take the map's memory from a NUMA node
// (bpf_map__set_numa_node), and sets BPF_F_NUMA_NODE.
func (m *UntypedMap) SetNUMANode(node uint32) error {
	return m.setMade("NUMA node", func(def *loader.Map) error {
		def.NUMANode = node
		def.Flags |= flagNUMANode
		return nil
	})
}

// flagNUMANode is BPF_F_NUMA_NODE of linux/bpf.h.
const flagNUMANode = 1 << 2

// SetIfindex makes Load make the map for a network device that runs programs itself
// (bpf_map__set_ifindex). 0 is none.
func (m *UntypedMap) SetIfindex(ifindex int) error {
	return m.setOwn("ifindex", func(def *loader.Map) error {
		if err := attach.CheckIfindex(ifindex); err != nil {
			return err
		}
		def.Ifindex = uint32(ifindex)
		return nil
	})
}

// SetPinning sets whether Load pins the map by its name in C, [ebpf.PinByName], or not,
// [ebpf.PinNone]. A map that is pinned there already is used in place of a new one. The
// directory is that of [LoadOptions]. Load does not pin struct_ops maps.
func (m *UntypedMap) SetPinning(pinning ebpf.PinType) error {
	if pinning != ebpf.PinNone && pinning != ebpf.PinByName {
		return m.set("pinning", func(*loader.Map) error {
			return fmt.Errorf("%v is not a way of pinning: give ebpf.PinByName or ebpf.PinNone", pinning)
		})
	}
	return m.setPin("pinning", pinning == ebpf.PinByName, "")
}

// SetPinPath makes Load pin the map at a path in a bpffs, or use the map that is pinned
// there (bpf_map__set_pin_path). The directory must be there. An empty path takes that back,
// and pinning by name with it. Load does not pin struct_ops maps.
func (m *UntypedMap) SetPinPath(path string) error { return m.setPin("pin path", false, path) }

func (m *UntypedMap) setPin(setting string, byName bool, path string) error {
	return m.set(setting, func(def *loader.Map) error {
		if m.origin().isStructOps() && (byName || path != "") {
			return errors.New("Load does not pin struct_ops maps: pin the link that Attach returns")
		}
		def.PinByName, def.PinPath = byName, path
		m.origin().pinningSet = true
		return nil
	})
}

// SetAutocreate sets whether Load makes the map (bpf_map__set_autocreate). A program that uses
// a map which is not made is loaded only if its code never gets there, such as behind a CO-RE
// check for the map type. The programs of struct_ops maps are loaded when one of their maps is
// made, and attached with it.
func (m *UntypedMap) SetAutocreate(autocreate bool) error {
	return m.set("autocreate", func(*loader.Map) error {
		*m.origin().autocreate() = autocreate
		return nil
	})
}

// Reuse makes Load use other instead of creating a map (bpf_map__reuse_fd). Its type, sizes,
// number of entries and flags must be those of the definition, or Load fails with
// [ebpf.ErrMapIncompatible]. The skeleton takes a reference of its own in Load;
// other must stay open until then. nil takes the call back.
func (m *UntypedMap) Reuse(other *ebpf.Map) error {
	return m.setMade("reused map", func(def *loader.Map) error {
		def.Reuse = other
		return nil
	})
}

// SetExclusiveProgram makes Load make the map for one program of the skeleton alone
// (bpf_map__set_exclusive_program): the kernel refuses other programs that use it, even of the
// same skeleton, whatever the rights of the process that loads them. It identifies the program
// by its code. nil takes the call back. It needs kernel 6.18. The program must be one that Load
// loads.
//
// A map keeps the code that it was made for, and the next version of a program has another one.
// So [Object.AdoptPinned] leaves the map out: each process makes its own, and RemoveStale
// removes what a version without this call has pinned. A map that is pinned otherwise, by
// LIBBPF_PIN_BY_NAME or SetPinPath, is taken as it is: Load does not compare the program, and the
// kernel refuses one of other code.
func (m *UntypedMap) SetExclusiveProgram(p *BaseProgram) error {
	return m.setMade("exclusive program", func(def *loader.Map) error {
		switch {
		case p == nil:
			def.Exclusive = nil
			return nil
		case p.owner != m.origin().owner:
			return fmt.Errorf("program %s is of another skeleton: give one of this skeleton", p.name)
		case isMapOfMaps(def.Type) || def.Type == ebpf.ProgramArray:
			return fmt.Errorf("maps of type %v cannot be for one program", def.Type)
		}
		def.Exclusive = p.def
		return nil
	})
}

// ExclusiveProgram returns the program that SetExclusiveProgram has set, nil for none
// (bpf_map__exclusive_program).
func (m *UntypedMap) ExclusiveProgram() *BaseProgram {
	m = m.origin()
	if m.owner == nil || m.def == nil || m.def.Exclusive == nil {
		return nil
	}
	for _, p := range m.owner.progs {
		if p.def == m.def.Exclusive {
			return p
		}
	}
	return nil
}

// SetInner makes inner the model for the values of a map of maps, in place of the declaration
// (bpf_map__set_inner_map_fd): the kernel then takes maps of the same type, sizes and flags.
// inner must stay open until Load returns. nil takes the call back.
func (m *UntypedMap) SetInner(inner *ebpf.Map) error {
	return m.setMade("inner map", func(def *loader.Map) error {
		if !isMapOfMaps(def.Type) {
			return fmt.Errorf("maps of type %v have no inner maps", def.Type)
		}
		def.InnerMap = inner
		return nil
	})
}

func isMapOfMaps(typ ebpf.MapType) bool { return typ == ebpf.HashOfMaps || typ == ebpf.ArrayOfMaps }

// inner makes h a handle on the definition of the map's values. It reports false where
// there is none.
func (m *UntypedMap) inner(h *UntypedMap) bool {
	origin := m.origin()
	if origin.def == nil || origin.def.Inner == nil {
		return false
	}
	m.initInner(h, m.name+"'s inner map")
	h.owner, h.def = origin.owner, origin.def.Inner
	return true
}

// makeInner gives h a new map of the definition of the map's values.
func (m *UntypedMap) makeInner(h *UntypedMap) error {
	if m.owner == nil || m.def.Inner == nil {
		return errors.New("its declaration does not describe its inner maps: make one with ebpf.NewMap")
	}
	m.owner.mu.Lock()
	defer m.owner.mu.Unlock()
	switch m.owner.state {
	case opened:
		return ErrNotLoaded
	case closed:
		return ErrClosed
	}
	if m.isFake() {
		return errFake
	}
	made, err := m.owner.loader.NewMap(m.def.Inner)
	if err != nil {
		return err
	}
	h.loaded.Store(made)
	return nil
}

// checkPinning refuses maps whose declaration asks for a pinning other than none or by name.
// libbpf refuses these too: such a value belongs to the loader that the object was written for.
// A map that is not created is not pinned.
func (o *object) checkPinning(opts LoadOptions) error {
	var errs []error
	for i, def := range o.loader.Maps {
		pinning := o.loader.Image.Maps[i].Pinning
		if pinning <= 1 || def.Kind == image.InnerMap || !def.Autocreate || def.Reuse != nil || opts.Maps[def.Name] != nil {
			continue
		}
		if slices.ContainsFunc(o.maps, func(m *UntypedMap) bool { return m.def == def && m.pinningSet }) {
			continue
		}
		errs = append(errs, fmt.Errorf("map %s: __uint(pinning, %d) is that of another loader: before Load, call SetPinning of the map with ebpf.PinByName, or with ebpf.PinNone and call Map().Pin after Load", def.Name, pinning))
	}
	return errors.Join(errs...)
}
