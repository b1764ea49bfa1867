// Package core applies CO-RE relocations: it finds what a program says of a kernel's
// type (where a member is, how large a type is, whether there is one) in the BTF of the
// kernel that it is loaded into.
//
// The model is libbpf's. A relocation names a local type, one of the object, and an
// access: the way to a member of it. The candidates are the kernel's types of the same
// name and kind, whatever their flavours ("task_struct___old"); those of modules count
// when vmlinux has none. The access is followed in each candidate by the names of
// members. Candidates in which it leads nowhere do not count, all others must agree.
// When none is left, what asks for existence is 0, and so are the size and the ID of a
// type; every other instruction is poisoned, and the verifier refuses the program if it
// can be reached.
package core

import (
	"errors"
	"fmt"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
)

// Kind is what a relocation asks for: enum bpf_core_relo_kind of linux/bpf.h.
type Kind uint32

// The kinds of relocations.
const (
	FieldByteOffset Kind = iota
	FieldByteSize
	FieldExists
	FieldSigned
	FieldLeftShift
	FieldRightShift
	TypeIDLocal
	TypeIDTarget
	TypeExists
	TypeSize
	EnumValueExists
	EnumValue
	TypeMatches
)

func (k Kind) ofField() bool { return k <= FieldRightShift }

func (k Kind) ofType() bool {
	return k >= TypeIDLocal && k <= TypeSize || k == TypeMatches
}

func (k Kind) ofEnum() bool { return k == EnumValueExists || k == EnumValue }

// Relocation is a record of .BTF.ext.
type Relocation struct {
	Kind Kind
	// Type is the ID of the local type.
	Type uint32
	// Access is the way to a member, "0:1:2", the index of an enum's value, or "0".
	Access string
}

// Kernel is where the candidates are.
type Kernel interface {
	// Types is the BTF of vmlinux, or what stands for it.
	Types() *rawbtf.Types
	// Modules returns the BTF of the modules that can be read. It is called when vmlinux
	// has no candidate for a type, once.
	Modules() []*rawbtf.Types
}

// A Relocator applies the relocations of an object. It may not be used by several
// goroutines at once.
type Relocator struct {
	local  *rawbtf.Types
	kernel Kernel
	// candidates are by essential name. Modules are looked into for names that have none.
	candidates map[string][]rawbtf.Type
	modules    map[string]struct{}
	results    map[Relocation]Result
}

// New returns a relocator of an object whose types are local, and looks up the
// candidates for the relocations that it will be asked for.
func New(local *rawbtf.Types, kernel Kernel, relos []Relocation) *Relocator {
	r := &Relocator{
		local:      local,
		kernel:     kernel,
		candidates: make(map[string][]rawbtf.Type),
		results:    make(map[Relocation]Result),
	}
	names := rawbtf.NewNames()
	for _, relo := range relos {
		names.Add(r.name(relo))
	}
	kernel.Types().Named(names, r.add)
	return r
}

// name returns the name that the candidates for the relocation have, empty when it needs
// none.
func (r *Relocator) name(relo Relocation) string {
	if relo.Kind == TypeIDLocal {
		return ""
	}
	return rawbtf.EssentialName(r.local.At(relo.Type).Name())
}

func (r *Relocator) add(name string, typ rawbtf.Type) {
	r.candidates[name] = append(r.candidates[name], typ)
}

// find returns the candidates for the local type.
func (r *Relocator) find(name string, local rawbtf.Type) []rawbtf.Type {
	all := ofKind(r.candidates[name], local.Kind())
	if len(all) > 0 {
		return all
	}
	if _, ok := r.modules[name]; ok {
		return nil
	}
	if r.modules == nil {
		r.modules = make(map[string]struct{})
	}
	r.modules[name] = struct{}{}
	for _, module := range r.kernel.Modules() {
		module.Named(rawbtf.NewNames(name), r.add)
	}
	return ofKind(r.candidates[name], local.Kind())
}

// ofKind returns the types of a kind, enums of either width.
func ofKind(types []rawbtf.Type, kind rawbtf.Kind) []rawbtf.Type {
	var same []rawbtf.Type
	for _, t := range types {
		if sameKind(t.Kind(), kind) {
			same = append(same, t)
		}
	}
	return same
}

func sameKind(a, b rawbtf.Kind) bool { return a == b || a.IsEnum() && b.IsEnum() }

// Result is the result of a relocation.
type Result struct {
	// Poison is true when the kernel lacks what the instruction needs.
	Poison bool
	// Value is what the instruction is to have, local what it has according to the local
	// type, which counts when check is set.
	Value, local uint64
	check        bool
	// size is the size of the member in the kernel, in bytes, localSize that in the local
	// type. They are set when the instruction reads or writes the member.
	size, localSize uint32
	// unsafe is true when an instruction that reads the member by its local size would not
	// get its value by reading by the other.
	unsafe bool
}

// errMalformed is for a relocation that no compiler makes.
var errMalformed = errors.New("is damaged: build the object again")

// Resolve returns what the relocation comes to in the kernel.
func (r *Relocator) Resolve(relo Relocation) (Result, error) {
	if res, ok := r.results[relo]; ok {
		return res, nil
	}
	res, err := r.resolve(relo)
	if err == nil {
		r.results[relo] = res
	}
	return res, err
}

func (r *Relocator) resolve(relo Relocation) (Result, error) {
	local, err := parse(r.local, relo)
	if err != nil {
		return Result{}, err
	}
	if relo.Kind == TypeIDLocal {
		return Result{Value: uint64(relo.Type)}, nil
	}
	name := r.name(relo)
	if name == "" {
		return Result{}, errors.New("the type has no name, by which the kernel's could be found: give it one")
	}
	var first *found
	for _, candidate := range r.find(name, r.local.At(relo.Type)) {
		target, ok := local.match(candidate)
		if !ok {
			continue
		}
		res, err := evaluate(relo.Kind, local, target)
		if err != nil {
			return Result{}, err
		}
		next := &found{candidate, target, res}
		if first == nil {
			first = next
		} else if !first.agrees(next) {
			return Result{}, fmt.Errorf("the kernel has several types of this name, which do not agree: %s is %d in type %d and %d in type %d: declare it as the one that is meant",
				name, first.result.Value, first.candidate.ID, next.result.Value, next.candidate.ID)
		}
	}
	if first == nil {
		return evaluate(relo.Kind, local, nil)
	}
	return first.result, nil
}

// found is a candidate in which an access leads somewhere.
type found struct {
	candidate rawbtf.Type
	target    *access
	result    Result
}

func (f *found) agrees(other *found) bool {
	return f.target.bits == other.target.bits && f.result.Poison == other.result.Poison && f.result.Value == other.result.Value
}
