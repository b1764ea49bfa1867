package verify

import (
	"encoding/binary"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/tool/internal/imagegen"
)

// order is the byte order of all objects that are loaded.
var (
	order       = imagegen.NativeOrder()
	isBigEndian = order == binary.BigEndian
)

// loadable is an object as it is to be loaded.
type loadable struct {
	// name is the file, as it was given.
	name string
	img  *image.Object
	// sized are the maps whose size a preset says.
	sized map[string]bool
	// chosen are the programs that a preset chooses, if it chooses any.
	chosen  map[string]bool
	chooses bool
}

// readObject reads an object file, or an image.
func readObject(file string) (*loadable, error) {
	data, err := readFile(file)
	if err != nil {
		return nil, err
	}
	img, err := imagegen.Load(filepath.Base(file), data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", quote.Text(file), err)
	}
	if img.Order != order {
		return nil, fmt.Errorf("%s: is for machines of the other byte order: compile it for this one", quote.Text(file))
	}
	return &loadable{name: file, img: img.Object, sized: map[string]bool{}, chosen: map[string]bool{}}, nil
}

// clone returns a copy whose maps can be changed, with their contents, and whose other parts
// can be replaced.
func (o *loadable) clone() *loadable {
	img := *o.img
	img.Maps = slices.Clone(img.Maps)
	for i := range img.Maps {
		img.Maps[i].Contents = slices.Clone(img.Maps[i].Contents)
	}
	return &loadable{o.name, &img, maps.Clone(o.sized), maps.Clone(o.chosen), o.chooses}
}

// prepare leaves out what is not needed to verify a program, or must not be done for that:
// pins, and the initial elements of maps, which may be programs. Maps are made for no more
// than most elements. It returns what it has changed that people should know.
func (o *loadable) prepare(most uint32) []string {
	var notes []string
	o.img.Elements = nil
	for i := range o.img.Maps {
		m := &o.img.Maps[i]
		m.Pinning = 0
		if most == 0 || m.MaxEntries <= most || o.sized[m.Name] || !capped(m) {
			continue
		}
		notes = append(notes, fmt.Sprintf("%s: map %s: is made for %d elements in place of %d", quote.Text(o.name), quote.Name(m.Name), most, m.MaxEntries))
		m.MaxEntries = most
	}
	return notes
}

// capped reports whether the size of a map is one of memory that is taken when it is made,
// and is in elements.
func capped(m *image.Map) bool {
	if m.Kind != image.DeclaredMap && m.Kind != image.InnerMap {
		return false
	}
	switch ebpf.MapType(m.Type) {
	case ebpf.Arena, ebpf.RingBuf, ebpf.UserRingbuf, ebpf.ProgramArray, ebpf.PerfEventArray, ebpf.CPUMap:
		return false
	}
	return true
}

// program returns the object with what is needed to verify one program of it. Programs of
// struct_ops are loaded with a table, which is not registered.
func (o *loadable) program(index int, section, target string) (*loadable, error) {
	with := &loadable{o.name, new(image.Object), o.sized, o.chosen, o.chooses}
	*with.img = *o.img
	img := with.img
	tables := img.StructOps
	img.StructOps = nil
	p := &img.Programs[index]
	if section != "" {
		img.Programs = slices.Clone(img.Programs)
		p = &img.Programs[index]
		p.Section = section
	}
	form, function, ok := secdef.Find(p.Section)
	if !ok {
		if legacy, isLegacy := secdef.FindLegacy(p.Section); isLegacy {
			form, ok = legacy.Form, true
		}
	}
	switch {
	case !ok:
		return nil, errSetting{fmt.Errorf("SEC(%q) says nothing of its type: name a section for it, with -section %s=SECTION or sections of the test", p.Section, p.Name)}
	case ebpf.ProgramType(form.Type) == ebpf.StructOps:
		return with, with.useTable(tables, uint32(index), target)
	case target == "" && ebpf.ProgramType(form.Type) == ebpf.Extension:
		return nil, noTarget("it replaces a function of another program", p.Name, "OBJECT:PROGRAM")
	case target == "" && form.Is(secdef.AttachBTF) && function == "":
		return nil, errSetting{fmt.Errorf("SEC(%q) names no target: name one with -section %s=%s/FUNCTION, or with -target %s=OBJECT:PROGRAM, or with sections and targets of the test",
			p.Section, p.Name, form.Name(), p.Name)}
	case target != "" && !strings.Contains(target, ":"):
		return nil, errSetting{fmt.Errorf("target %s: want OBJECT:PROGRAM or OBJECT:PROGRAM:FUNCTION", quote.Text(target))}
	}
	return with, nil
}

// useTable gives the object the table by which a program of struct_ops is loaded.
func (o *loadable) useTable(tables []image.StructOps, program uint32, target string) error {
	if target != "" {
		table, err := o.table(target, program)
		if err != nil {
			return errSetting{err}
		}
		o.img.StructOps = []image.StructOps{*table}
		return nil
	}
	for _, t := range tables {
		for _, f := range t.Funcs {
			if f.Program == program {
				t.Section, t.Funcs = unregistered, []image.OpsFunc{f}
				o.img.StructOps = []image.StructOps{t}
				return nil
			}
		}
	}
	return noTarget("no struct_ops table of the object has it", o.img.Programs[program].Name, "TYPE.MEMBER")
}

// unregistered is the section of tables whose map does not get its value when it is made,
// for which the kernel would look at all of the table.
const unregistered = ".struct_ops"

// table makes a table for TYPE.MEMBER, which has the program.
func (o *loadable) table(target string, program uint32) (*image.StructOps, error) {
	name, member, ok := strings.Cut(target, ".")
	if !ok {
		return nil, fmt.Errorf("target %s: want TYPE.MEMBER, as in tcp_congestion_ops.ssthresh", quote.Text(target))
	}
	types, err := rawbtf.Parse(o.img.BTF, nil)
	if err != nil {
		return nil, fmt.Errorf("types: %w", err)
	}
	t, ok := types.Find(name, rawbtf.Struct)
	if !ok {
		return nil, fmt.Errorf("target %s: the object has no struct %s", quote.Text(target), quote.Name(name))
	}
	size, _ := t.SizeOf()
	for i := range t.Vlen() {
		if m := t.Member(i); m.Name == member && m.Offset%64 == 0 {
			return &image.StructOps{
				Name: "table", Section: unregistered, Type: t.ID, Contents: make([]byte, size),
				Funcs: []image.OpsFunc{{Offset: m.Offset / 8, Program: program}},
			}, nil
		}
	}
	return nil, fmt.Errorf("target %s: struct %s has no function %s", quote.Text(target), quote.Name(name), quote.Name(member))
}

// errSetting is the error of settings that do not say enough to load a program: one without a
// target, or with a target of another kind.
type errSetting struct{ error }

// errLacks is the error of a program for a target for which the kernel lacks something.
type errLacks struct{ error }

func noTarget(why, program, form string) error {
	return errSetting{fmt.Errorf("%s: name a target for it, with -target %s=%s or targets of the test", why, program, form)}
}

// needs is what a program takes of its object.
type needs struct {
	// maps are those that its code refers to, by their indices.
	maps []bool
	// callbacks is true when it takes the address of a function.
	callbacks bool
}

// needsOf returns what a function, and those that it calls or names, take of the object.
func needsOf(img *image.Object, function uint32) needs {
	n := needs{maps: make([]bool, len(img.Maps))}
	// The loader binds these to every program.
	for i := range img.Maps {
		n.maps[i] = img.Maps[i].Metadata
	}
	seen := make([]bool, len(img.Functions))
	for left := []uint32{function}; len(left) > 0; {
		f := left[0]
		left = left[1:]
		if f == image.NoIndex || seen[f] {
			continue
		}
		seen[f] = true
		code := &img.Functions[f]
		left = append(left, code.ExceptionCallback)
		for _, r := range image.All(img.Relocations) {
			if r.Instruction < code.First || r.Instruction-code.First >= code.Count {
				continue
			}
			switch r.Kind {
			case image.MapFD, image.MapValue:
				n.maps[r.Target] = true
			case image.ArenaValue:
				n.maps[img.Arena.Map] = true
			case image.Call:
				left = append(left, r.Target)
			case image.FuncAddress:
				n.callbacks = true
				left = append(left, r.Target)
			}
		}
	}
	return n
}
