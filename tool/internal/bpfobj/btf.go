package bpfobj

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
)

// maxTypes bounds the BTF of an object. The btf package decodes a type and all
// that it refers to by calling itself, so that a chain of n types takes n stack
// frames of some 2 KB, and Go ends a process, without a panic that could be
// caught, at 512 MB of stack. Objects have some thousands of types; a kernel
// has 150,000, and is not an object.
const maxTypes = 100_000

// ParseBTF reads the contents of section .BTF of an object file of the byte order. All of
// its types are whole, and not more than an object has. Errors name the section.
func ParseBTF(contents []byte, order binary.ByteOrder) (*rawbtf.Types, error) {
	const section = ".BTF"
	if other, ok := rawbtf.OrderOf(contents); ok && other != order {
		return nil, fmt.Errorf("section %s: has another byte order than the file: build the object again", section)
	}
	types, err := rawbtf.Parse(contents, nil)
	switch {
	case errors.Is(err, rawbtf.ErrNotBTF):
		return nil, BTFError(section, rawbtf.ErrDamaged)
	case err != nil:
		return nil, BTFError(section, err)
	case types.Len() > maxTypes+1:
		return nil, fmt.Errorf("section %s: has more than %d types: no BPF object needs as many: include only the types that the program uses", section, maxTypes)
	}
	return types, nil
}

// BTFError adds to an error of package rawbtf the section that it cannot read, and what to do about
// contents that are damaged.
func BTFError(section string, err error) error {
	if errors.Is(err, rawbtf.ErrDamaged) {
		return fmt.Errorf("section %s: %w: build the object again", section, err)
	}
	return fmt.Errorf("section %s: %w", section, err)
}

// ErrEmpty is the error for a file that the compiler writes no BTF for, as it has
// nothing that has a type.
var ErrEmpty = errors.New("defines nothing: no variable, map or program: define one, or look for an #if that leaves all of it out")

// isEmpty reports whether the file has nothing that BTF would describe.
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
		return errors.New("has no .BTF section, which describes the types: compile with clang -g")
	}
	raw := r.contents(sec)
	var err error
	if r.obj.types, err = ParseBTF(raw, r.obj.ByteOrder); err != nil {
		return err
	}
	// The bytes alone, not the ELF file: given the file, the package would fill in
	// offsets itself, and the comparison with the symbols would not see BTF's
	// own offsets.
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("section .BTF: is damaged: %s: build the object again", quote.Text(err.Error()))
	}
	r.btf = spec
	r.obj.btf = spec
	return nil
}

// TypeByName returns the struct, union, enum or typedef called name, which can be
// spelt as in C, with the keyword: "struct event". Without one, a struct,
// union or enum comes before a typedef of the same name.
func (o *Object) TypeByName(name string) (btf.Type, error) {
	keyword, tag := SplitType(name)
	candidates, err := o.btf.AnyTypesByName(tag)
	if err != nil && !errors.Is(err, btf.ErrNotFound) {
		return nil, fmt.Errorf("type %s: BTF is damaged: %s: build the object again", quote.Name(name), quote.Text(err.Error()))
	}
	found := make(map[string][]btf.Type)
	for _, t := range candidates {
		// The lookup ignores what follows three underscores.
		if t.TypeName() != tag {
			continue
		}
		kind := ""
		switch t.(type) {
		case *btf.Typedef:
			kind = "typedef"
		case *btf.Struct:
			kind = "struct"
		case *btf.Union:
			kind = "union"
		case *btf.Enum:
			kind = "enum"
		default:
			continue
		}
		found[kind] = append(found[kind], t)
	}
	types := found[keyword]
	if keyword == "" {
		types = slices.Concat(found["struct"], found["union"], found["enum"])
		if len(types) == 0 {
			types = found["typedef"]
		}
	}
	switch len(types) {
	case 1:
		return types[0], nil
	case 0:
		if kinds := slices.Sorted(maps.Keys(found)); len(kinds) > 0 {
			return nil, fmt.Errorf("type %s: is not in the object's BTF, which has %s %s: correct the name", quote.Name(name), kinds[0], quote.Name(tag))
		}
		spelt := tag
		if quote.Name(tag) != tag {
			spelt = "NAME"
		}
		switch keyword {
		case "":
			spelt = "struct " + spelt
		case "typedef":
		default:
			spelt = keyword + " " + spelt
		}
		return nil, fmt.Errorf("type %s: is not in the object's BTF, which has a type only if a map, a global variable or a function uses it: declare \"%s *unused __hidden;\", or correct the name", quote.Name(name), spelt)
	}
	return nil, fmt.Errorf("type %s: the object's BTF has %d types of this name: give the one that is meant a name of its own", quote.Name(name), len(types))
}

// SplitType takes the name of a type as C spells it apart: "struct event" is a
// keyword (struct, union, enum or typedef) and a name, "event" a name alone.
func SplitType(name string) (keyword, tag string) {
	fields := strings.Fields(name)
	if len(fields) == 2 {
		switch fields[0] {
		case "struct", "union", "enum", "typedef":
			return fields[0], fields[1]
		}
	}
	return "", name
}

// datasec returns the DATASEC of a section, nil when BTF has none.
func (r *reader) datasec(name string) (*btf.Datasec, error) {
	var ds *btf.Datasec
	err := r.btf.TypeByName(name, &ds)
	switch {
	case errors.Is(err, btf.ErrNotFound):
		return nil, nil
	case errors.Is(err, btf.ErrMultipleMatches):
		return nil, fmt.Errorf("section %s: BTF describes it twice: link the object again", quote.Name(name))
	case err != nil:
		return nil, fmt.Errorf("section %s: BTF is damaged: %s: build the object again", quote.Name(name), quote.Text(err.Error()))
	}
	// The lookup ignores what follows three underscores, which in a type's name
	// mark a flavour.
	if ds.Name != name {
		return nil, nil
	}
	return ds, nil
}
