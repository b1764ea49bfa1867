package skeleton

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/runtime/internal/region"
)

// Var is a [Variable] with its Go type. A subskeleton has one for each variable of its
// library, lib.Vars.Counter, and [VarOf] makes one for those of other skeletons. The zero
// value is for a variable that the object does not have.
type Var[T any] struct{ Variable }

// VarOf returns the variable with the Go type T. It fails when v is the zero value, and when
// values of T have another size than the variable, or hold Go pointers:
//
//	v, _ := skel.FindVariable("counter")
//	counter, err := skeleton.VarOf[uint64](v)
func VarOf[T any](v Variable) (Var[T], error) {
	var value T
	err := v.checkSize(int(unsafe.Sizeof(value)))
	if err == nil {
		err = checkRecordType[T]()
	}
	if err != nil {
		return Var[T]{}, fmt.Errorf("variable %s: %w", v.Name(), err)
	}
	return Var[T]{v}, nil
}

// Get returns the variable's value: see [Variable.Get].
func (v Var[T]) Get() (value T, err error) {
	err = v.get(unsafe.Slice((*byte)(unsafe.Pointer(&value)), unsafe.Sizeof(value)))
	return value, err
}

// Set sets the variable's value: see [Variable.Set].
func (v Var[T]) Set(value T) error {
	return v.put(unsafe.Slice((*byte)(unsafe.Pointer(&value)), unsafe.Sizeof(value)))
}

// errNoVariable is for the zero Variable.
var errNoVariable = errors.New("the object does not have the variable")

// Get copies the variable's value to value, which has as many bytes. It works before Load and
// after it, also where the kernel cannot map the section, as because of a spin lock: then it
// reads the section from its map with a system call. Where user space has the section's
// memory, that is what is read, without a lock or a barrier: a pointer into it takes less
// time, and package sync/atomic can use it.
//
// It fails for the zero value, for another number of bytes, and where it takes a system call
// with what that fails with, [ErrClosed] after Close.
func (v Variable) Get(value []byte) error {
	if err := v.checkSize(len(value)); err != nil {
		return fmt.Errorf("get variable %s: %w", v.Name(), err)
	}
	return v.get(value)
}

// Set sets the variable's value to value, which has as many bytes: where [Variable.Get] reads
// it. When the kernel cannot map the section, that takes two system calls, which read and
// write the section as a whole, but for its locks: what programs write to other variables of
// the section in between is lost. Set those that programs change, and user space too, before
// Load, or put them into a section without locks.
//
// It fails as Get does, after Load for a section that is read-only, and where the section
// cannot be mapped because it holds something that the kernel frees when the section is
// written to: a timer, a kptr, a list and the like.
func (v Variable) Set(value []byte) error {
	if err := v.checkSize(len(value)); err != nil {
		return fmt.Errorf("set variable %s: %w", v.Name(), err)
	}
	return v.put(value)
}

// Exists reports whether the object has the variable. The handle on a weak one of a library
// that no file of the object defines is the zero value.
func (v Variable) Exists() bool { return v.v != nil }

func (v Variable) checkSize(n int) error {
	if !v.Exists() {
		return errNoVariable
	}
	if size := v.Size(); n != size {
		return fmt.Errorf("it has %d bytes, and the value %d: give one of its type", size, n)
	}
	return nil
}

func (v Variable) get(value []byte) error {
	if !v.Exists() {
		return fmt.Errorf("get variable: %w", errNoVariable)
	}
	v.section.o.mu.Lock()
	defer v.section.o.mu.Unlock()
	if err := v.copyOut(value); err != nil {
		return fmt.Errorf("get variable %s: %w", v.v.Name, err)
	}
	return nil
}

func (v Variable) put(value []byte) error {
	if !v.Exists() {
		return fmt.Errorf("set variable: %w", errNoVariable)
	}
	v.section.o.mu.Lock()
	defer v.section.o.mu.Unlock()
	if err := v.copyIn(value); err != nil {
		return fmt.Errorf("set variable %s: %w", v.v.Name, err)
	}
	return nil
}

func (v Variable) copyOut(value []byte) error {
	if memory := v.section.bytes(); memory != nil {
		region.CopyShared(value, memory[v.v.Offset:])
		return nil
	}
	m, err := v.section.hiddenMap()
	if err != nil {
		return err
	}
	all, err := m.LookupBytes(uint32(0))
	if err != nil {
		return err
	}
	copy(value, all[v.v.Offset:])
	return nil
}

func (v Variable) copyIn(value []byte) error {
	o, s := v.section.o, v.section.s
	if o.state != opened && s.readOnly() && s.m.Map != nil {
		return fmt.Errorf("section %s is read-only after Load: set the variable before", s.name)
	}
	if memory := v.section.bytes(); memory != nil {
		region.CopyShared(memory[v.v.Offset:][:len(value)], value)
		return nil
	}
	m, err := v.section.hiddenMap()
	if err != nil {
		return err
	}
	if what := freedByWrite(o.datasec(s.name)); what != "" {
		return fmt.Errorf("section %s cannot be mapped, and holds %s, which the kernel frees when the section is written to: put the variable into another section", s.name, what)
	}
	all, err := m.LookupBytes(uint32(0))
	if err != nil {
		return err
	}
	copy(all[v.v.Offset:], value)
	return m.Put(uint32(0), all)
}

// hiddenMap returns the map in the kernel of a section that cannot be mapped.
func (s DataSection) hiddenMap() (*ebpf.Map, error) {
	switch s.o.state {
	case opened:
		return nil, errFieldIsNil
	case closed:
		return nil, ErrClosed
	}
	if s.s.m.Map == nil {
		return nil, errFieldIsNil
	}
	return s.s.m.Map, nil
}

// freedTypes are the types of the kernel whose values an update of an array cancels or frees
// (bpf_obj_free_fields), and freedTags those of the pointers.
var (
	freedTypes = []string{"bpf_timer", "bpf_wq", "bpf_task_work", "bpf_list_head", "bpf_rb_root"}
	freedTags  = []string{"kptr", "kptr_untrusted", "percpu_kptr", "uptr"}
)

// freedByWrite returns what in a section the kernel frees when the section is written to as a
// map's value, empty when nothing is.
func freedByWrite(section *btf.Datasec) string {
	if section == nil {
		return ""
	}
	seen := make(map[btf.Type]bool)
	var look func(btf.Type) string
	look = func(t btf.Type) string {
		t = btf.UnderlyingType(t)
		if seen[t] {
			return ""
		}
		seen[t] = true
		switch t := t.(type) {
		case *btf.Array:
			return look(t.Type)
		case *btf.Struct:
			if slices.Contains(freedTypes, t.Name) {
				return "a struct " + t.Name
			}
			for _, m := range t.Members {
				if what := look(m.Type); what != "" {
					return what
				}
			}
		case *btf.Pointer:
			if tag, ok := t.Target.(*btf.TypeTag); ok && slices.Contains(freedTags, tag.Value) {
				return "a " + tag.Value
			}
		}
		return ""
	}
	for _, v := range section.Vars {
		if what := look(v.Type.(*btf.Var).Type); what != "" {
			return what
		}
	}
	return ""
}
