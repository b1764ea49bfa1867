package vmlinuxh

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
)

// Types are the types of a kernel, of a kernel and a module, or of any other
// program with BTF. They are decoded when a header needs them: most of a kernel's are in
// few headers.
type Types struct {
	// data is what raw was parsed of.
	data []byte
	raw  *rawbtf.Types
	// spec are the types of raw, by the same IDs, nil until all of them are asked for.
	spec *btf.Spec
	// base is nil, or what a module's types build on.
	base *Types
	// kfuncs are the functions that programs may call, by their names: their IDs.
	kfuncs  map[string]uint32
	ptrSize uint64
	depth   *depthCheck
	// hint is what to do when the types are not whole.
	hint string
	// failed is why types could not be decoded: the others are not looked at then.
	failed error
}

// Contents returns the BTF of a file that is either raw BTF or an ELF file with
// a section .BTF.
func Contents(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(data, []byte(elf.ELFMAG)) {
		return data, nil
	}
	return fromELF(data)
}

func fromELF(data []byte) (raw []byte, err error) {
	// debug/elf does not promise to take any file.
	defer func() {
		if r := recover(); r != nil {
			raw, err = nil, fmt.Errorf("is a damaged ELF file: %v", r)
		}
	}()
	file, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("is a damaged ELF file: %v", err)
	}
	if file.Section(".BTF.base") != nil {
		return nil, errors.New("is a module whose BTF fits no kernel before it is loaded (it has a section .BTF.base): load the module and give /sys/kernel/btf/MODULE")
	}
	sec := file.Section(".BTF")
	if sec == nil || sec.Type != elf.SHT_PROGBITS {
		return nil, errors.New("has no section .BTF, which describes the types: build it with debug information and BTF, or give /sys/kernel/btf/vmlinux")
	}
	return sec.Data()
}

// Load decodes raw BTF. base is nil, or what a module's BTF builds on.
func Load(raw []byte, base *Types) (*Types, error) {
	t := &Types{data: raw, ptrSize: 8, base: base, hint: "for a module, give the kernel's BTF with -base"}
	var baseRaw *rawbtf.Types
	var baseDepth *depthCheck
	if base != nil {
		baseRaw, baseDepth, t.ptrSize = base.raw, base.depth, base.ptrSize
		t.hint = "give the BTF of the very kernel that the module is for"
	}
	var err error
	if t.raw, err = rawbtf.Parse(raw, baseRaw); err != nil {
		return nil, fmt.Errorf("%w: give a file with BTF, as /sys/kernel/btf/vmlinux", err)
	}
	if base != nil {
		// IDs go on where those of the base end, which is to be found out now.
		if err := t.load(); err != nil {
			return nil, err
		}
	}
	t.depth = newDepthCheck(t.raw, baseDepth)
	if err := t.survey(); err != nil {
		return nil, err
	}
	return t, nil
}

// load makes the spec.
func (t *Types) load() (err error) {
	switch {
	case t.spec != nil:
		return nil
	case t.base == nil:
		t.spec, err = btf.LoadSpecFromReader(bytes.NewReader(t.data))
	default:
		if err := t.base.load(); err != nil {
			return err
		}
		t.spec, err = btf.LoadSplitSpecFromReader(bytes.NewReader(t.data), t.base.spec)
	}
	if err != nil {
		return t.damaged(err)
	}
	return nil
}

func (t *Types) damaged(err error) error {
	return fmt.Errorf("has BTF that is damaged or not whole: %s: %s", quote.Text(err.Error()), t.hint)
}

// survey finds out how large pointers are, and which functions programs may call. It fails
// when a type has its name elsewhere, as those of a module have.
func (t *Types) survey() error {
	t.kfuncs = make(map[string]uint32)
	if t.base != nil {
		maps.Copy(t.kfuncs, t.base.kfuncs)
	}
	const wholeType = -1
	_, strings := t.raw.Sizes()
	var tagged []uint32
	for id := t.raw.First(); id < t.raw.Len(); id++ {
		typ := t.raw.At(id)
		if t.base == nil && uint64(typ.NameOffset()) >= uint64(max(strings, 1)) {
			return t.damaged(rawbtf.ErrDamaged)
		}
		switch typ.Kind() {
		case rawbtf.Int:
			// The pointers of a 32-bit kernel.
			if name := string(typ.RawName()); (name == "long unsigned int" || name == "unsigned long") && typ.ByteSize() == 4 {
				t.ptrSize = 4
			}
		case rawbtf.DeclTag:
			if string(typ.RawName()) == kfuncTag && typ.Component() == wholeType && t.raw.At(typ.Ref()).Kind() == rawbtf.Func {
				tagged = append(tagged, typ.Ref())
			}
		}
	}
	// The first of a name, whatever the order of the tags.
	slices.Sort(tagged)
	for _, id := range tagged {
		if name := t.raw.At(id).Name(); name != "" && id >= t.raw.First() {
			if _, ok := t.kfuncs[name]; !ok {
				t.kfuncs[name] = id
			}
		}
	}
	return nil
}

// decode returns the types of the IDs, in their order.
func (t *Types) decode(ids []uint32) ([]btf.Type, error) {
	if t.failed != nil {
		return nil, t.failed
	}
	if err := t.load(); err != nil {
		t.failed = err
		return nil, err
	}
	if err := t.depth.check(ids); err != nil {
		t.failed = fmt.Errorf("has BTF that is damaged: %w", err)
		return nil, t.failed
	}
	var types []btf.Type
	for _, id := range ids {
		typ, err := t.spec.TypeByID(btf.TypeID(id))
		if err != nil {
			t.failed = t.damaged(err)
			return nil, t.failed
		}
		types = append(types, typ)
	}
	return types, nil
}

// roots returns the IDs of the types that a header can have at its top, those of the base
// first.
func (t *Types) roots() []uint32 {
	var ids []uint32
	if t.base != nil {
		ids = t.base.roots()
	}
	var referenced []bool
	for id := t.raw.First(); id < t.raw.Len(); id++ {
		typ := t.raw.At(id)
		switch kind := typ.Kind(); kind {
		case rawbtf.Struct, rawbtf.Union, rawbtf.Enum, rawbtf.Enum64:
			if typ.NameOffset() == 0 {
				// What has no name stands where it is used, but for an enum that is there
				// for its values.
				if !kind.IsEnum() {
					continue
				}
				if referenced == nil {
					referenced = t.referenced()
				}
				if referenced[id] {
					continue
				}
			}
			ids = append(ids, id)
		case rawbtf.Typedef:
			ids = append(ids, id)
		}
	}
	return ids
}

// referenced reports for each ID whether a type refers to it.
func (t *Types) referenced() []bool {
	referenced := make([]bool, t.raw.Len())
	var refs []uint32
	for id := t.raw.First(); id < t.raw.Len(); id++ {
		refs = t.raw.At(id).References(refs[:0])
		for _, ref := range refs {
			if ref < uint32(len(referenced)) {
				referenced[ref] = true
			}
		}
	}
	return referenced
}

// search returns the IDs of those that roots returns which have one of the names, or are
// enums with a value of the name, and takes the names that are found from missing.
func (t *Types) search(wanted, missing map[string]bool) []uint32 {
	var ids []uint32
	if t.base != nil {
		ids = t.base.search(wanted, missing)
	}
	var referenced []bool
	for id := t.raw.First(); id < t.raw.Len(); id++ {
		typ := t.raw.At(id)
		kind := typ.Kind()
		if !kind.IsComposite() && !kind.IsEnum() && kind != rawbtf.Typedef {
			continue
		}
		name := typ.RawName()
		found := len(name) > 0 && wanted[string(name)]
		if found {
			delete(missing, string(name))
		}
		if kind.IsEnum() {
			for i := range typ.Vlen() {
				value := typ.ValueName(i)
				if !wanted[string(value)] {
					continue
				}
				if len(name) == 0 {
					if referenced == nil {
						referenced = t.referenced()
					}
					if referenced[id] {
						break
					}
				}
				found = true
				delete(missing, string(value))
			}
		}
		if found {
			ids = append(ids, id)
		}
	}
	return ids
}
