package cheader

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
)

// Types are the types of a kernel, of a kernel and a module, or of any other
// program with BTF.
type Types struct {
	raw  *bpfobj.RawBTF
	spec *btf.Spec
	// named are the types that a header is made of, in the order of their IDs.
	named []btf.Type
	// kfuncs are the functions that programs may call, by their names.
	kfuncs  map[string]*btf.Func
	ptrSize uint64
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
	var baseRaw *bpfobj.RawBTF
	hint := "for a module, give the kernel's BTF with -base"
	if base != nil {
		baseSpec, baseRaw, t.ptrSize = base.spec, base.raw, base.ptrSize
		t.named = slices.Clone(base.named)
		t.kfuncs = maps.Clone(base.kfuncs)
		hint = "give the BTF of the very kernel that the module is for"
	}
	var err error
	if t.raw, err = bpfobj.ScanBTF(raw, baseRaw); err != nil {
		return nil, fmt.Errorf("%w: give a file with BTF, as /sys/kernel/btf/vmlinux", err)
	}
	damaged := func(err error) error {
		return fmt.Errorf("has BTF that is damaged or not whole: %s: %s", oneLine(err.Error()), hint)
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
	if err := t.raw.CheckDepth(ids); err != nil {
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
func (t *Types) roots() []int {
	referenced := make([]bool, t.raw.End())
	tagged := make([]bool, t.raw.End())
	for id := t.raw.First; id < t.raw.End(); id++ {
		for _, ref := range t.raw.References(id) {
			if ref < len(referenced) {
				referenced[ref] = true
				tagged[ref] = tagged[ref] || t.raw.Kind(id) == bpfobj.KindDeclTag
			}
		}
	}
	var ids []int
	for id := t.raw.First; id < t.raw.End(); id++ {
		switch t.raw.Kind(id) {
		case bpfobj.KindStruct, bpfobj.KindUnion, bpfobj.KindEnum, bpfobj.KindEnum64:
			// What has no name stands where it is used, but for an enum that is there
			// for its values.
			enum := t.raw.Kind(id) == bpfobj.KindEnum || t.raw.Kind(id) == bpfobj.KindEnum64
			if !t.raw.HasName(id) && (referenced[id] || !enum) {
				continue
			}
			ids = append(ids, id)
		case bpfobj.KindFunc:
			// A kernel has some ten thousand, and tags on a few hundred.
			if t.raw.HasName(id) && tagged[id] {
				ids = append(ids, id)
			}
		case bpfobj.KindTypedef, bpfobj.KindInt:
			ids = append(ids, id)
		}
	}
	return ids
}

// oneLine makes a message fit for one line: names from a damaged file may hold
// anything.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return '?'
		}
		return r
	}, s)
}
