package skeleton

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/runtime/internal/loader"
	"github.com/rules-bpf/rules_bpf/runtime/internal/region"
)

// InitialValue returns a copy of the value that Load would give the map now
// (bpf_map__initial_value): that of a data section, of the variables in an arena, or of a
// struct_ops table, in which programs are zero. It is nil for other maps, whose elements are
// put into them after Load, and once Load has been successful: [DataSection.Bytes] is what a
// section holds then.
func (m *UntypedMap) InitialValue() []byte {
	m = m.origin()
	o := m.owner
	if o == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state != opened {
		return nil
	}
	if m.isStructOps() {
		table := o.structOpsMap(m.name)
		from := table.current()
		if from == nil {
			return nil
		}
		value := make([]byte, table.size)
		table.copyValues(value, table.bytesAt(from))
		return value
	}
	size, ok := m.valueSize()
	if !ok {
		return nil
	}
	value := make([]byte, size)
	if s := o.sectionOf(m); s != nil {
		region.CopyShared(value, DataSection{o, s}.bytes())
	} else {
		copy(value, m.def.Contents)
	}
	return value
}

// SetInitialValue sets the value that Load gives the map, all bytes of it
// (bpf_map__set_initial_value): that of a data section, which the skeleton's struct then has,
// or of the variables in an arena. For a struct_ops table it sets everything but the programs:
// the bytes of value at their offsets are ignored.
//
// It fails for another number of bytes than [UntypedMap.InitialValue] returns, for a map that
// has no such value, and for .kconfig, whose value comes from the kernel's configuration.
func (m *UntypedMap) SetInitialValue(value []byte) error {
	m = m.origin()
	return m.set("initial value", func(def *loader.Map) error {
		if m.isStructOps() {
			return m.owner.structOpsMap(m.name).setInitialValue(value)
		}
		size, ok := m.valueSize()
		switch {
		case !ok:
			return fmt.Errorf("maps of type %v have no initial value: put elements into the map after Load", def.Type)
		case def.Kind == image.KconfigMap:
			return errors.New("it comes from the kernel's configuration: LoadOptions.Kconfig is what replaces that")
		case len(value) != size:
			return sizeOfValue(len(value), size)
		}
		s := m.owner.sectionOf(m)
		if s == nil {
			def.Contents = bytes.Clone(value)
			return nil
		}
		// A struct of the user's own, in the field, would replace the value.
		if err := s.takeOver(); err != nil {
			return err
		}
		region.CopyShared(s.region.Bytes(), value)
		return nil
	})
}

func sizeOfValue(n, size int) error {
	return fmt.Errorf("the value has %d bytes, and %d are given: give all of it", size, n)
}

// valueSize returns how many bytes the map's initial value has, and reports whether it has one.
// It is not called for struct_ops maps.
func (m *UntypedMap) valueSize() (int, bool) {
	if m.def.Kind.IsSection() {
		return int(m.def.ValueSize), true
	}
	img := m.owner.loader.Image
	if img.Arena.Map != image.NoIndex && m.owner.loader.Maps[img.Arena.Map] == m.def {
		return int(img.Arena.Size), true
	}
	return 0, false
}

// sectionOf returns the section whose variables a map holds, nil when the skeleton has no
// struct of it.
func (o *object) sectionOf(m *UntypedMap) *section {
	for i := range o.sections {
		if o.sections[i].m == m.def {
			return &o.sections[i]
		}
	}
	return nil
}

// setInitialValue sets the values of the table.
func (m *StructOpsMap) setInitialValue(value []byte) error {
	if uintptr(len(value)) != m.size {
		return sizeOfValue(len(value), int(m.size))
	}
	if err := m.takeOver(); err != nil {
		return err
	}
	m.copyValues(m.bytes(), value)
	return nil
}
