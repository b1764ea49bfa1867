package bpfobj

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
)

// maxTypes bounds the BTF that is read. The btf package decodes a type and all
// that it refers to by calling itself, so that a chain of n types takes n stack
// frames of some 2 KB, and Go ends a process, without a panic that could be
// caught, at 512 MB of stack. Objects have some thousands of types; a kernel
// has 150,000, and is no object.
const maxTypes = 100_000

// ErrEmpty is the error for a file that the compiler writes no BTF for, as it has
// nothing that has a type.
var ErrEmpty = errors.New("defines nothing: no variable, map or program: define one, or look for an #if that leaves all of it out")

// isEmpty says whether the file has nothing that BTF would describe.
func (r *reader) isEmpty() bool {
	for _, sec := range r.file.Sections {
		if sec.Size > 0 && IsLoaded(&elfobj.Section{Name: sec.Name, Type: sec.Type, Flags: sec.Flags}) {
			return false
		}
	}
	for _, sym := range r.symbols {
		if elf.ST_BIND(sym.Info) != elf.STB_LOCAL {
			return false
		}
	}
	return true
}

func (r *reader) readBTF() error {
	sec := r.file.Section(".BTF")
	if sec == nil && r.isEmpty() {
		return ErrEmpty
	}
	if sec == nil || sec.Type != elf.SHT_PROGBITS {
		return errors.New("has no .BTF section, which says the types: compile with clang -g")
	}
	raw := r.contents(sec)
	if err := checkBTF(raw, r.obj.ByteOrder); err != nil {
		return fmt.Errorf("section .BTF: %w", err)
	}
	// The bytes alone, not the ELF file: given the file, the package would fill in
	// offsets itself, and what BTF said would be lost to the comparison with the
	// symbols.
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("section .BTF: is damaged: %s: build the object again", oneLine(err.Error()))
	}
	r.btf = spec
	r.obj.btf = spec
	return nil
}

// TypeByName returns the struct, union, enum or typedef called name. A typedef
// that shares its name with one of the others stands back.
func (o *Object) TypeByName(name string) (btf.Type, error) {
	candidates, err := o.btf.AnyTypesByName(name)
	if err != nil && !errors.Is(err, btf.ErrNotFound) {
		return nil, fmt.Errorf("type %s: BTF is damaged: %s: build the object again", elfobj.Quote(name), oneLine(err.Error()))
	}
	var typedef, tagged []btf.Type
	for _, t := range candidates {
		// The lookup ignores what follows three underscores.
		if t.TypeName() != name {
			continue
		}
		switch t.(type) {
		case *btf.Typedef:
			typedef = append(typedef, t)
		case *btf.Struct, *btf.Union, *btf.Enum:
			tagged = append(tagged, t)
		}
	}
	if len(tagged) == 0 {
		tagged = typedef
	}
	switch len(tagged) {
	case 1:
		return tagged[0], nil
	case 0:
		return nil, fmt.Errorf("type %s: is not in the object's BTF, which has a type only if a map, a global variable or a function uses it: declare \"struct %s *unused __hidden;\", or correct the name (without struct, union or enum)", elfobj.Quote(name), name)
	}
	return nil, fmt.Errorf("type %s: the object's BTF has %d types of this name: give the one that is meant a name of its own", elfobj.Quote(name), len(tagged))
}

// datasec returns the list of variables of a section, nil when BTF has none.
func (r *reader) datasec(name string) (*btf.Datasec, error) {
	var ds *btf.Datasec
	err := r.btf.TypeByName(name, &ds)
	switch {
	case errors.Is(err, btf.ErrNotFound):
		return nil, nil
	case errors.Is(err, btf.ErrMultipleMatches):
		return nil, fmt.Errorf("section %s: BTF describes it twice: link the object again", elfobj.Quote(name))
	case err != nil:
		return nil, fmt.Errorf("section %s: BTF is damaged: %s: build the object again", elfobj.Quote(name), oneLine(err.Error()))
	}
	// The lookup ignores what follows three underscores, which in a type's name
	// mark a flavour.
	if ds.Name != name {
		return nil, nil
	}
	return ds, nil
}

// checkBTF makes sure that the BTF has the byte order of the file and can be
// decoded with the stack that there is.
func checkBTF(raw []byte, order binary.ByteOrder) error {
	const (
		headerLen = 24
		magic     = 0xeb9f
	)
	damaged := errors.New("is damaged: build the object again")
	if len(raw) < headerLen {
		return damaged
	}
	if order.Uint16(raw) != magic {
		return errors.New("has another byte order than the file, or is damaged: build the object again")
	}
	// struct btf_header: magic, version, flags, hdr_len, type_off, type_len, ...
	hdrLen := uint64(order.Uint32(raw[4:]))
	start := hdrLen + uint64(order.Uint32(raw[8:]))
	end := start + uint64(order.Uint32(raw[12:]))
	if end > uint64(len(raw)) {
		return damaged
	}
	types := raw[start:end]
	for n := 0; len(types) > 0; n++ {
		if n == maxTypes {
			return fmt.Errorf("has more than %d types: no BPF object needs as many: include only the types that the program uses", maxTypes)
		}
		size := typeSize(types, order)
		if size > len(types) {
			return damaged
		}
		types = types[size:]
	}
	return nil
}

// typeSize returns the number of bytes that the first of the types takes.
func typeSize(types []byte, order binary.ByteOrder) int {
	// struct btf_type: name_off, info, size or type.
	const size = 12
	if len(types) < size {
		return size
	}
	info := order.Uint32(types[4:])
	vlen := int(info & 0xffff)
	switch info >> 24 & 0x1f {
	case 1, 14, 17: // int, var, decl tag
		return size + 4
	case 3: // array
		return size + 12
	case 4, 5, 15, 19: // struct, union, datasec, enum64: three words each
		return size + 12*vlen
	case 6, 13: // enum, func proto: two words each
		return size + 8*vlen
	}
	return size
}
