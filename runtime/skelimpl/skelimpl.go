// Package skelimpl is for code that bpfgen has generated, and for nothing else: see package
// skeleton for what people use.
//
// All of it may change with every version. Generated code states which version it was made
// for, and does not compile with another.
package skelimpl

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/runtime/internal/binding"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

// Version is the version of what generated code and the runtime agree on: what the code
// calls, and the form of the object in it. Generated code states the version that it was
// made for in two constant expressions that compile only when it is this one.
const Version = image.Version

// EnforceVersion is the type of the version checks in generated code: it is unsigned, so
// that a negative difference of versions does not compile.
type EnforceVersion uint

// The descriptions of a skeleton and of a subskeleton: see package binding.
type (
	Desc             = binding.Desc[*skeleton.UntypedMap, *skeleton.BaseProgram, *skeleton.StructOpsMap]
	LibraryDesc      = binding.LibraryDesc[*skeleton.UntypedMap, *skeleton.BaseProgram, *skeleton.StructOpsMap, *skeleton.Variable]
	Map              = binding.Map[*skeleton.UntypedMap]
	MapTypes         = binding.MapTypes
	Span             = binding.Span
	Prog             = binding.Prog[*skeleton.BaseProgram]
	LibrarySection   = binding.LibrarySection[*skeleton.UntypedMap]
	LibraryProg      = binding.LibraryProg[*skeleton.BaseProgram]
	Field            = binding.Field
	Section          = binding.Section
	SectionVar       = binding.SectionVar
	Only             = binding.Only
	StructOps        = binding.StructOps[*skeleton.StructOpsMap]
	StructOpsFunc    = binding.StructOpsFunc
	LibraryStructOps = binding.LibraryStructOps[*skeleton.StructOpsMap]
	Var              = binding.Var[*skeleton.Variable]
)

// Open reads the object and fills the handles and fields that desc names. Nothing is in the
// kernel, and nothing has to be closed, before Load.
func Open(desc Desc) (*skeleton.Object, error) {
	return binding.Object.(func(Desc) (*skeleton.Object, error))(desc)
}

// OpenVariant is Open for an object of which there are several variants, whose names are as for
// VariantName. desc describes all of them, and its Image is the set of their images. What the
// variant does not have, has nil fields. Errors name the variant, now and later.
func OpenVariant(names string, variant int, desc Desc) (*skeleton.Object, error) {
	desc.Name += ", variant " + VariantName(names, variant)
	data, err := image.Variant(desc.Image, variant)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", desc.Name, err)
	}
	desc.Image = data
	binding.Select(&desc, variant)
	return Open(desc)
}

// VariantName returns the name of a variant, of which names has all, with a space between
// them: what the String method of a generated type Variant returns.
func VariantName(names string, variant int) string {
	i := 0
	for name := range strings.FieldsSeq(names) {
		if i == variant {
			return name
		}
		i++
	}
	return UnknownInt("Variant", int64(variant))
}

// OpenLibrary fills the handles and fields that desc names with the library's part of obj,
// which is open or loaded.
//
// The pointers are into the memory of obj's section structs, and as valid as pointers into
// these: for as long as they are used. Program handles, slots and the handles of data sections are
// those of obj. The handle of a weak map that obj does not have stays empty: see HasMap.
func OpenLibrary(obj skeleton.Any, desc LibraryDesc) error {
	return binding.Library.(func(skeleton.Any, LibraryDesc) error)(obj, desc)
}

// HasMap reports whether OpenLibrary has filled the handle.
func HasMap(m *skeleton.UntypedMap) bool { return m.Name() != "" }

// UnknownInt is what the String method of a generated enum type whose constants are signed
// returns for a value that no constant has: Mode(-7).
func UnknownInt(name string, value int64) string {
	return name + "(" + strconv.FormatInt(value, 10) + ")"
}

// UnknownUint is UnknownInt for enums whose constants are not signed.
func UnknownUint(name string, value uint64) string {
	return name + "(" + strconv.FormatUint(value, 10) + ")"
}
