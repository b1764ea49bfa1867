// Package imagegen makes the image of a linked BPF object: it does at build time what
// other loaders do each time they open an ELF file.
//
// # Model
//
// Where an ELF file refers by name or by address, an image has indices. A [builder] takes
// these steps:
//
//   - Functions and their code. Instructions outside of any function, such as the body of a
//     weak function that lost, are left out.
//   - Types: DATASECs get sizes, offsets and the order of offsets, hidden variables and
//     functions become static, DATASEC .ksyms becomes what kernels accept.
//     Types keep their IDs, and texts their offsets.
//   - Maps: those that C declares, in the order of section .maps, then those of data
//     sections, in the order of the file, then .kconfig, then definitions of inner maps.
//   - What refers to them: relocations of code, initial values of maps, struct_ops tables.
//   - Records of .BTF.ext, by the index of their instruction.
//
// The rules are libbpf's (bpf_object__open), and so is what the kernel gets: the same
// types under the same IDs. It differs where libbpf is stricter than it needs to be: a
// function that is called may be in any section, and a map may be pinned in a way that
// only a loader of the user's own knows.
//
// Usually bpfobj.Read has checked the file before, and little is left to refuse. Build does
// not rely on that, and takes objects without BTF too.
package imagegen

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
)

// Image is what the image of an object file has.
type Image struct {
	*image.Object
	// Order is the byte order of the file.
	Order binary.ByteOrder
}

// Encode returns the image.
func (i *Image) Encode() ([]byte, error) { return image.Encode(i.Object, i.Order) }

// Load reads an object file, as Build does, or an image, which is one of this machine's byte
// order.
func Load(name string, data []byte) (*Image, error) {
	if !image.Is(data) {
		return Build(name, data)
	}
	object, err := image.Decode(string(data))
	if err != nil {
		return nil, err
	}
	return &Image{Object: object, Order: NativeOrder()}, nil
}

// NativeOrder returns the byte order of this machine, which is that of images and of its kernel.
func NativeOrder() binary.ByteOrder {
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// Build returns what the image of an object file has. name is the file's base name. It
// does not panic, whatever data is. Errors have the form "symbol: what, and what to do".
func Build(name string, data []byte) (*Image, error) {
	file, err := elfobj.Parse(data)
	if err != nil {
		return nil, err
	}
	if err := bpfobj.CheckRelocs(file); err != nil {
		return nil, err
	}
	b := &builder{
		file:      file,
		order:     file.Order,
		functions: make(map[*elfobj.Section][]span),
		programs:  make(map[uint32]uint32),
		declared:  make(map[uint64]declaredMap),
		sections:  make(map[*elfobj.Section]uint32),
		externs:   make(map[string]uint32),
		kconfig:   make(map[string]uint32),
		tables:    make(map[tableKey]uint32),
		out:       &image.Object{Name: objectName(name), Arena: image.Arena{Map: image.NoIndex}},
	}
	for _, step := range []func() error{
		b.singletons,
		b.readBTF,
		b.readCode,
		b.fixTypes,
		b.ksyms,
		b.readMaps,
		b.sectionMaps,
		b.kconfigMap,
		b.innerMaps,
		b.arena,
		b.structOps,
		b.elements,
		b.relocations,
		b.variables,
		b.records,
		b.callbacks,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if b.btf != nil {
		if b.out.BTF, err = b.btf.Bytes(); err != nil {
			return nil, bpfobj.BTFError(".BTF", err)
		}
	}
	return &Image{b.out, b.order}, nil
}

// objectName returns the name of the object in a file with the name.
func objectName(file string) string {
	name := strings.TrimSuffix(file, ".o")
	return strings.TrimSuffix(name, ".bpf")
}

// builder makes an image of a file.
type builder struct {
	file  *elfobj.File
	order binary.ByteOrder
	out   *image.Object
	// btf is that of the image, and types that of the file, to read. Both are nil when the
	// file has none.
	btf   *rawbtf.Builder
	types *rawbtf.Types
	// datasecs are the DATASECs by the names of their sections.
	datasecs map[string]uint32
	ext      *rawbtf.Ext

	// functions are where the functions of a section are, in order.
	functions map[*elfobj.Section][]span
	// programs are those of functions.
	programs map[uint32]uint32
	// declared are the maps by their offsets in section .maps, sections those of data
	// sections, inner the definitions of inner maps until they are added.
	declared map[uint64]declaredMap
	sections map[*elfobj.Section]uint32
	inner    []innerMap
	// externs and kconfig are what undefined symbols stand for: an extern, or the offset of
	// a Kconfig variable.
	externs map[string]uint32
	kconfig map[string]uint32
	// tables are the jump tables by the function and the offset of the table.
	tables map[tableKey]uint32
}

// size returns the size of a section.
func size(sec *elfobj.Section) uint64 {
	if sec.Type == elf.SHT_NOBITS {
		return sec.Size
	}
	return uint64(len(sec.Data))
}

// maxSection is the largest value that an array map can hold.
const maxSection = math.MaxInt32 - 4096

// checkSize refuses a section that no map can hold.
func checkSize(sec *elfobj.Section) error {
	if n := size(sec); n > maxSection {
		return fmt.Errorf("section %s: has %d bytes, and a data section can have %d: keep large data in a map", quote.Name(sec.Name), n, maxSection)
	}
	return nil
}

// isContents reports whether a section is one that can be in an image.
func isContents(sec *elfobj.Section) bool {
	return sec.Type == elf.SHT_PROGBITS || sec.Type == elf.SHT_NOBITS
}

// singletons reads sections license and version.
func (b *builder) singletons() error {
	if sec := b.file.Section("license"); sec != nil {
		license, _, _ := strings.Cut(string(sec.Data), "\x00")
		// libbpf and the kernel look at as many bytes.
		b.out.License = license[:min(len(license), 63)]
	}
	if sec := b.file.Section("version"); sec != nil {
		if len(sec.Data) != 4 {
			return fmt.Errorf("section version: has %d bytes, not the 4 of a number: declare an unsigned int in it", len(sec.Data))
		}
		b.out.KernelVersion = b.order.Uint32(sec.Data)
	}
	return nil
}

// readBTF reads the types.
func (b *builder) readBTF() error {
	sec := b.file.Section(".BTF")
	if sec == nil {
		return nil
	}
	var err error
	if b.types, err = bpfobj.ParseBTF(sec.Data, b.order); err != nil {
		return err
	}
	b.btf = b.types.Edit()
	b.datasecs = make(map[string]uint32)
	for id := range b.types.Len() {
		t := b.types.At(id)
		if t.Kind() != rawbtf.Datasec {
			continue
		}
		name := t.Name()
		if b.datasecs[name] != 0 {
			return fmt.Errorf("section %s: BTF describes it twice: link the object again", quote.Name(name))
		}
		b.datasecs[name] = id
	}
	if sec := b.file.Section(".BTF.ext"); sec != nil {
		if b.ext, err = rawbtf.ParseExt(sec.Data, b.order); err != nil {
			return bpfobj.BTFError(sec.Name, err)
		}
	}
	return nil
}
