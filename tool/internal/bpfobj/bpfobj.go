// Package bpfobj reads a BPF object file into a plain model.
//
// An object file as clang or a BPF linker writes it is an ELF file. What is in it
// follows from three of its parts together:
//
//   - The section headers: which sections hold programs (executable ones), data
//     (.data, .rodata, .bss and their .data.x relatives) and maps (.maps, and
//     .struct_ops and its relatives).
//   - The symbol table: which names are where, how long they are, whether other
//     files see them (binding) and whether loaders show them (visibility).
//   - BTF: the type of each name. Per section it has a DATASEC, a list of the
//     variables in the section. Clang leaves the offsets in it zero, and the
//     symbols have them; a linker fills them in, and then both must agree.
//
// [Read] puts them together, and refuses an object in which they contradict each
// other. What it returns needs no more checks: names are unique where they must
// be, variables lie within their sections, and only types are left to look at.
//
// Nothing in here knows about Go code or about Bazel.
package bpfobj

import (
	"debug/elf"
	"encoding/binary"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
)

// Object is a BPF object file.
type Object struct {
	// Name is the file's base name.
	Name string
	// ByteOrder is that of the BPF target: bpfel or bpfeb.
	ByteOrder binary.ByteOrder
	// License is the contents of section license, without the closing NUL.
	License string
	// Maps are the maps declared in section .maps, in order of their addresses,
	// which is the order of their C definitions in one file.
	Maps []Map
	// Programs are in order of sections, then of addresses.
	Programs []Program
	// Sections are the data sections, in the order of the file.
	Sections []Section
	// Arena is the name of the map that holds the variables of ArenaSection, empty
	// when there are none.
	Arena string
	// StructOps are the struct_ops maps, in order of sections, then of addresses.
	StructOps []StructOps
	// Kconfig are the __kconfig variables, in the order in which BTF lists them.
	Kconfig []KconfigVariable
	// Externs are the variables that a library declares and does not define, in the
	// order of BTF. [Read] leaves them out, as it does extern maps.
	Externs []ExternVariable
	// Losses are what no loader reads and nothing in the object needs.
	Losses []*Loss
	// AddressWarnings say which variables hold addresses, in the form of
	// errors: "symbol: what, and what to do".
	AddressWarnings []string

	btf *btf.Spec
	// types are those of btf, by the same IDs.
	types *rawbtf.Types
}

// Loss is something in an object that loaders silently leave out, and that most likely was
// meant for them. It is an error where the object cannot work without it.
type Loss struct {
	// Section is the section that it is in.
	Section string
	// Text is "symbol: what, and what to do".
	Text string
}

func (l *Loss) Error() string { return l.Text }

// Program is a function that is loaded on its own: not one of section .text,
// which holds what programs call.
type Program struct {
	Name string
	// Section is the argument of SEC(), "?" included.
	Section string
}

// Kind tells data sections apart by what programs may do with them.
type Kind int

const (
	// Data is memory with initial values: .data and .data.*.
	Data Kind = iota
	// Rodata is memory that programs only read: .rodata and .rodata.*.
	Rodata
	// Bss is memory that starts as zeros: .bss and .bss.*.
	Bss
	// Arena is memory in the object's arena: ArenaSection.
	Arena
)

// ArenaSection holds the variables that C places in address space 1 (__arena).
// They live in the memory of the object's map of type BPF_MAP_TYPE_ARENA.
const ArenaSection = ".addr_space.1"

// KindOf returns the kind of the data section called name, and whether it is the
// name of a data section at all.
func KindOf(name string) (Kind, bool) {
	if name == ArenaSection {
		return Arena, true
	}
	for _, k := range []struct {
		base string
		kind Kind
	}{{".data", Data}, {".rodata", Rodata}, {".bss", Bss}} {
		if rest, ok := strings.CutPrefix(name, k.base); ok && (rest == "" || rest[0] == '.') {
			return k.kind, true
		}
	}
	return 0, false
}

// IsLoaded reports whether loaders read the section: it is loaded, or says how to load
// the rest.
func IsLoaded(sec *elfobj.Section) bool {
	if sec.Type != elf.SHT_PROGBITS && sec.Type != elf.SHT_NOBITS {
		return false
	}
	// Loaders read these by name, whatever their flags are.
	switch sec.Name {
	case ".BTF", ".BTF.ext", ".maps", "license", "version", JumpTables:
		return true
	}
	_, data := KindOf(sec.Name)
	return data || secdef.IsStructOps(sec.Name) || sec.Flags&(elf.SHF_ALLOC|elf.SHF_EXECINSTR) != 0
}

// Section is a data section.
type Section struct {
	Name string
	Kind Kind
	// Size is the size in bytes.
	Size uint64
	// HasMap is true when loaders make a map for the section. They do unless nothing
	// refers to it and it has no symbols: a compiler's leftover. Variables of the
	// arena are in a map that C declares.
	HasMap bool
	// Variables are in order of offsets. Variables without global linkage are not
	// among them.
	Variables []Variable
}

// Exposed returns the variables that a skeleton shows: those that are not hidden.
func (s *Section) Exposed() []Variable {
	var exposed []Variable
	for _, v := range s.Variables {
		if !v.Hidden {
			exposed = append(exposed, v)
		}
	}
	return exposed
}

// Variable is a global variable.
type Variable struct {
	Name string
	// Offset and Size are in bytes, from the start of the section.
	Offset, Size uint64
	Type         btf.Type
	// Hidden is true when the variable is for the object's own files only: its ELF
	// visibility is hidden or internal. BTF shows it like any other.
	Hidden bool
	// Addresses is true when the variable holds addresses of other data in C. Loaders do not fill
	// these in: programs read offsets.
	Addresses bool
}

// KconfigVariable is a variable in section .kconfig, which no file has: a loader makes the
// section, and sets the variable to the value of the option.
type KconfigVariable struct {
	Name string
	// Size is in bytes.
	Size uint64
	Type btf.Type
	// Weak is true when the kernel need not have the option.
	Weak bool
}

// ExternVariable is a variable that another file defines.
type ExternVariable struct {
	Name string
	// Size is in bytes.
	Size uint64
	Type btf.Type
	// Weak is true when no file needs to define it.
	Weak bool
}
