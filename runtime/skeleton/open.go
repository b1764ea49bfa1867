package skeleton

import (
	"fmt"
	"reflect"
	"unsafe"

	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/subskel"
	"github.com/rules-bpf/rules_bpf/runtime/internal/binding"
)

// OpenObject opens an object that is known only at run time, as the Open function of
// generated code opens its own. data is its image, which bpfgen image makes of an ELF file, or
// the program itself with package tool/elfimage.
//
// All of the object is there, without Go types: maps are [UntypedMap], tables are
// [StructOpsMap], programs are [BaseProgram], and sections are bytes. Subskeletons of the
// libraries in the object work over it as over a skeleton.
//
// It fails when data is not an image, or one for another version of this package or for
// machines of the other byte order. Nothing is in the kernel, and nothing has to be closed,
// before Load.
func OpenObject(data string) (*Object, error) {
	img, err := image.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("open an object: %w", err)
	}
	o, err := openImage(img, describe(img))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", img.Name, err)
	}
	return o, nil
}

// describe makes the description that generated code would give of the object, with fields
// that belong to it alone.
func describe(img *image.Object) desc {
	d := desc{Name: img.Name}
	section := func(name string, size uint32) {
		d.Sections = append(d.Sections, binding.Section{Name: name, Field: binding.Field{Pointer: unsafe.Pointer(new(unsafe.Pointer)), Size: uintptr(size)}})
	}
	// As in generated code, sections with nothing but static variables are the programs' own,
	// and user space does not map them.
	visible := make(map[uint32]bool)
	for i := range img.Variables {
		if v := &img.Variables[i]; v.Visible {
			visible[v.Map] = true
		}
	}
	for i := range img.Maps {
		m := &img.Maps[i]
		if m.Kind == image.InnerMap {
			continue
		}
		d.Maps = append(d.Maps, mapDesc{Name: m.Name, Handle: new(UntypedMap)})
		if m.Kind == image.KconfigMap || m.Kind.IsSection() && visible[uint32(i)] {
			section(m.Name, m.ValueSize)
		}
	}
	if img.Arena.Map != image.NoIndex && visible[image.NoIndex] {
		section(subskel.Arena, img.Arena.Size)
	}
	for i := range img.Programs {
		d.Progs = append(d.Progs, progDesc{Name: img.Programs[i].Name, Handle: new(*BaseProgram), Link: new(link.Link)})
	}
	for i := range img.StructOps {
		d.StructOps = append(d.StructOps, describeTable(img, &img.StructOps[i]))
	}
	return d
}

// describeTable describes a table whose members for programs of the object are Go pointers, for
// the garbage collector.
func describeTable(img *image.Object, ops *image.StructOps) structOpsDesc {
	d := structOpsDesc{Name: ops.Name, Handle: new(StructOpsMap), Link: new(link.Link)}
	var fields []reflect.StructField
	add := func(t reflect.Type) {
		fields = append(fields, reflect.StructField{Name: fmt.Sprintf("F%d", len(fields)), Type: t})
	}
	bytes := func(n uint32) { add(reflect.ArrayOf(int(n), reflect.TypeFor[byte]())) }
	// A pointer of Go is at the end of the 8 bytes.
	const gap = 8 - uint32(unsafe.Sizeof(uintptr(0)))
	at := uint32(0)
	for _, m := range ops.Funcs {
		bytes(m.Offset - at + gap)
		add(reflect.TypeFor[*BaseProgram]())
		at = m.Offset + 8
		d.Funcs = append(d.Funcs, binding.StructOpsFunc{Name: img.Programs[m.Program].Name, Offset: uintptr(m.Offset)})
	}
	bytes(uint32(len(ops.Contents)) - at)
	table := reflect.New(reflect.StructOf(fields)).UnsafePointer()
	d.Field = binding.Field{Pointer: unsafe.Pointer(&table), Size: uintptr(len(ops.Contents))}
	return d
}
