package cheader

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
// program with BTF.
type Types struct {
	// raw are those of spec, by the same IDs.
	raw  *rawbtf.Types
	spec *btf.Spec
	// named are the types that a header is made of, in the order of their IDs.
	named []btf.Type
	// kfuncs are the functions that programs may call, by their names.
	kfuncs  map[string]*btf.Func
	ptrSize uint64
	depth   *depthCheck
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
		return nil, errors.New("has no section .BTF, which says the types: build it with debug information and BTF, or give /sys/kernel/btf/vmlinux")
	}
	return sec.Data()
}

// Load decodes raw BTF. base is nil, or what a module's BTF builds on.
func Load(raw []byte, base *Types) (*Types, error) {
	t := &Types{ptrSize: 8, kfuncs: make(map[string]*btf.Func)}
	var baseSpec *btf.Spec
	var baseRaw *rawbtf.Types
	var baseDepth *depthCheck
	hint := "for a module, give the kernel's BTF with -base"
	if base != nil {
		baseSpec, baseRaw, baseDepth, t.ptrSize = base.spec, base.raw, base.depth, base.ptrSize
		t.named = slices.Clone(base.named)
		t.kfuncs = maps.Clone(base.kfuncs)
		hint = "give the BTF of the very kernel that the module is for"
	}
	var err error
	if t.raw, err = rawbtf.Parse(raw, baseRaw); err != nil {
		return nil, fmt.Errorf("%w: give a file with BTF, as /sys/kernel/btf/vmlinux", err)
	}
	damaged := func(err error) error {
		return fmt.Errorf("has BTF that is damaged or not whole: %s: %s", quote.Text(err.Error()), hint)
	}
	if base == nil {
		t.spec, err = btf.LoadSpecFromReader(bytes.NewReader(raw))
	} else {
		t.spec, err = btf.LoadSplitSpecFromReader(bytes.NewReader(raw), baseSpec)
	}
	if err != nil {
		return nil, damaged(err)
	}
	ids := t.roots()
	t.depth = newDepthCheck(t.raw, baseDepth)
	if err := t.depth.check(ids); err != nil {
		return nil, fmt.Errorf("has BTF that is damaged: %w", err)
	}
	for _, id := range ids {
		typ, err := t.spec.TypeByID(btf.TypeID(id))
		if err != nil {
			return nil, damaged(err)
		}
		if i, ok := typ.(*btf.Int); ok {
			// The pointers of a 32-bit kernel.
			if (i.Name == "long unsigned int" || i.Name == "unsigned long") && i.Size == 4 {
				t.ptrSize = 4
			}
			continue
		}
		if f, ok := typ.(*btf.Func); ok {
			if slices.Contains(f.Tags, kfuncTag) && t.kfuncs[f.Name] == nil {
				t.kfuncs[f.Name] = f
			}
			continue
		}
		t.named = append(t.named, typ)
	}
	return t, nil
}

// roots returns the IDs of the types that a header can have at its top, of
// integers, and of functions with tags.
func (t *Types) roots() []uint32 {
	first, end := t.raw.First(), t.raw.Len()
	referenced := make([]bool, end)
	tagged := make([]bool, end)
	var refs []uint32
	for id := first; id < end; id++ {
		typ := t.raw.At(id)
		isTag := typ.Kind() == rawbtf.DeclTag
		refs = typ.References(refs[:0])
		for _, ref := range refs {
			if ref < end {
				referenced[ref] = true
				tagged[ref] = tagged[ref] || isTag
			}
		}
	}
	var ids []uint32
	for id := first; id < end; id++ {
		typ := t.raw.At(id)
		named := typ.NameOffset() != 0
		switch kind := typ.Kind(); kind {
		case rawbtf.Struct, rawbtf.Union, rawbtf.Enum, rawbtf.Enum64:
			// What has no name stands where it is used, but for an enum that is there
			// for its values.
			if !named && (referenced[id] || !kind.IsEnum()) {
				continue
			}
			ids = append(ids, id)
		case rawbtf.Func:
			// A kernel has some ten thousand, and tags on a few hundred.
			if named && tagged[id] {
				ids = append(ids, id)
			}
		case rawbtf.Typedef, rawbtf.Int:
			ids = append(ids, id)
		}
	}
	return ids
}
