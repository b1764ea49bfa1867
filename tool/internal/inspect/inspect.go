// Package inspect reports what is in a linked BPF object, and what it needs of a kernel: for
// people as tables, for programs as JSON. It compares two of them, too.
package inspect

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/internal/subskel"
	"github.com/rules-bpf/rules_bpf/tool/internal/imagegen"
)

// Report is what is in an object. Its fields are the JSON.
type Report struct {
	Name      string `json:"name"`
	ByteOrder string `json:"byteOrder"`
	License   string `json:"license"`
	// Programs, Functions, Maps, Variables, StructOps, Externs and Kconfig are in the order
	// of the object. Functions are global ones that are no programs: other files call them,
	// and programs of section freplace take the place of them.
	Programs  []Program   `json:"programs"`
	Functions []Function  `json:"functions"`
	Maps      []Map       `json:"maps"`
	Variables []Variable  `json:"variables"`
	StructOps []StructOps `json:"structOps"`
	Externs   []Extern    `json:"externs"`
	Kconfig   []Kconfig   `json:"kconfig"`
	// Types are the structs, unions and enums of keys, values, variables and struct_ops
	// tables, sorted by their names: what a pointer leads to is not among them.
	Types []Type `json:"types"`
	// Sources are the files that functions are from, those of libraries among them, in the
	// order of their code.
	Sources []Source `json:"sources"`
	// Needs are sorted: those of the newest kernels first, unknown ones before them.
	Needs []Need `json:"needs"`
	// Kernel is the first version that has all that is known, and Unknown is true when
	// something is not known.
	Kernel  string `json:"kernel"`
	Unknown bool   `json:"unknown"`
	// Capabilities are those that loading takes, from 5.8 on. Before, it is CAP_SYS_ADMIN.
	Capabilities []string `json:"capabilities"`
}

// Program is a program.
type Program struct {
	Name    string `json:"name"`
	Section string `json:"section"`
	// Type is cilium/ebpf's name, unknown for sections of a project's own.
	Type string `json:"type"`
	// Target is what the section names, empty when it names nothing.
	Target string `json:"target,omitempty"`
	// Instructions are those of the program's own function, of 8 bytes each.
	Instructions int `json:"instructions"`
	// Autoload is false where the section begins with "?", and Autoattach is true when
	// Attach attaches it.
	Autoload   bool `json:"autoload"`
	Autoattach bool `json:"autoattach"`
	// CORE are the CO-RE relocations in the program's own function.
	CORE []CORE `json:"core"`
}

// Function is a function with what it takes and returns, as C spells it.
type Function struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Layout is the type without typedefs, qualifiers and names of integers.
	Layout string `json:"layout"`
}

// CORE is a CO-RE relocation.
type CORE struct {
	// Instruction counts from the program's first.
	Instruction int    `json:"instruction"`
	Kind        string `json:"kind"`
	Type        string `json:"type"`
	// Access is the way to a member or an enum's constant: 0:1:2.
	Access string `json:"access"`
}

// Map is a map.
type Map struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Key and Value are their C types, empty where there are none.
	Key   string `json:"key,omitempty"`
	Value string `json:"value,omitempty"`
	// KeyLayout and ValueLayout are the types without typedefs, qualifiers and names of
	// integers: what Go code sees of them.
	KeyLayout   string `json:"keyLayout,omitempty"`
	ValueLayout string `json:"valueLayout,omitempty"`
	// KeySize and ValueSize are in bytes.
	KeySize    uint32 `json:"keySize"`
	ValueSize  uint32 `json:"valueSize"`
	MaxEntries uint32 `json:"maxEntries"`
	Flags      uint32 `json:"flags"`
	Pinning    uint32 `json:"pinning,omitempty"`
	// Section is true when the map holds variables.
	Section bool `json:"section"`
}

// Variable is a global variable.
type Variable struct {
	Section string `json:"section"`
	Name    string `json:"name"`
	Type    string `json:"type"`
	// Layout is the type without typedefs, qualifiers and names of integers.
	Layout string `json:"layout"`
	// Offset and Size are in bytes.
	Offset uint32 `json:"offset"`
	Size   uint32 `json:"size"`
	// Value is the initial one, as bytes in hexadecimal digits. Empty: all are zero.
	Value string `json:"value,omitempty"`
	// Visible is true when other files see it.
	Visible bool `json:"visible"`
}

// shown reports whether packages show the variable.
func (v *Variable) shown() bool { return v.Visible || v.Section == ".kconfig" }

// StructOps is a struct_ops table.
type StructOps struct {
	Name    string `json:"name"`
	Section string `json:"section"`
	// Type is the table's C type, with the kernel's name.
	Type string `json:"type"`
	// Size is in bytes.
	Size int `json:"size"`
	// Members are those that hold programs.
	Members []OpsMember `json:"members"`
}

// OpsMember is a member of a struct_ops table that holds a program.
type OpsMember struct {
	Name    string `json:"name"`
	Program string `json:"program"`
}

// Source is a file with functions of the object.
type Source struct {
	// File is its path as the compiler has it.
	File string `json:"file"`
	// Functions are those that begin in the file, in the order of their code.
	Functions []string `json:"functions"`
	// Instructions are those of the functions, of 8 bytes each.
	Instructions int `json:"instructions"`
}

// Extern is something of the kernel.
type Extern struct {
	Name string `json:"name"`
	// Kind is kfunc, ksym variable or ksym address.
	Kind string `json:"kind"`
	Weak bool   `json:"weak"`
}

// Kconfig is a Kconfig option.
type Kconfig struct {
	Name string `json:"name"`
	Size uint32 `json:"size"`
	Weak bool   `json:"weak"`
}

// Read reads a linked object, or the image of one. name is the file's base name. Errors
// have the form "symbol: what, and what to do".
func Read(name string, data []byte) (*Report, error) {
	img, err := imagegen.Load(name, data)
	if err != nil {
		return nil, err
	}
	r := &reader{img: img, report: &Report{
		Name: img.Name, License: img.License,
		Programs: []Program{}, Functions: []Function{}, Maps: []Map{}, Variables: []Variable{}, StructOps: []StructOps{}, Externs: []Extern{}, Kconfig: []Kconfig{},
		Types: []Type{}, Sources: []Source{}, Capabilities: []string{},
	}}
	r.report.ByteOrder = "little-endian"
	if img.Order == binary.BigEndian {
		r.report.ByteOrder = "big-endian"
	}
	if len(img.BTF) > 0 {
		if r.types, err = btf.LoadSpecFromReader(bytes.NewReader(img.BTF)); err != nil {
			return nil, fmt.Errorf(".BTF: %w: compile the object again", err)
		}
	}
	r.programs()
	r.functions()
	r.maps()
	r.variables()
	r.structOps()
	r.externs()
	r.cTypes()
	r.sources()
	r.needs()
	return r.report, nil
}

type reader struct {
	img    *imagegen.Image
	types  *btf.Spec
	report *Report
}

// typeByID returns a type, nil when no type has the ID.
func (r *reader) typeByID(id uint32) btf.Type {
	if id == 0 || r.types == nil {
		return nil
	}
	t, err := r.types.TypeByID(btf.TypeID(id))
	if err != nil {
		return nil
	}
	return t
}

func (r *reader) typeName(id uint32) string {
	if t := r.typeByID(id); t != nil {
		return cType(t)
	}
	return ""
}

func (r *reader) layout(id uint32) string {
	if t := r.typeByID(id); t != nil {
		return layout(t, 0)
	}
	return ""
}

// cType spells a type as C does, without the place of a name.
func cType(t btf.Type) string { return spell(t, 0) }

// maxDepth bounds what a type refers to: damaged BTF has types that refer to themselves.
const maxDepth = 32

func spell(t btf.Type, depth int) string {
	if depth > maxDepth {
		return "..."
	}
	depth++
	switch t := t.(type) {
	case *btf.Void:
		return "void"
	case *btf.Pointer:
		return spell(t.Target, depth) + " *"
	case *btf.Array:
		return fmt.Sprintf("%s[%d]", spell(t.Type, depth), t.Nelems)
	case *btf.Const:
		return "const " + spell(t.Type, depth)
	case *btf.Volatile:
		return "volatile " + spell(t.Type, depth)
	case *btf.Restrict:
		return spell(t.Type, depth)
	case *btf.TypeTag:
		return spell(t.Type, depth)
	case *btf.FuncProto:
		return "function"
	}
	name := quote.Text(t.TypeName())
	if name == "" {
		name = "(anonymous)"
	}
	switch t.(type) {
	case *btf.Struct:
		return "struct " + name
	case *btf.Union:
		return "union " + name
	case *btf.Enum:
		return "enum " + name
	}
	return name
}

func (r *reader) programs() {
	for _, p := range r.img.Programs {
		f := r.img.Functions[p.Function]
		out := Program{Name: p.Name, Section: p.Section, Type: "unknown", Instructions: int(f.Count), Autoload: !strings.HasPrefix(p.Section, "?"), CORE: []CORE{}}
		if form, target, ok := secdef.Find(p.Section); ok {
			out.Type, out.Target, out.Autoattach = ebpf.ProgramType(form.Type).String(), target, form.Auto != ""
		}
		for _, c := range image.All(r.img.CORE) {
			if c.Instruction >= f.First && c.Instruction < f.First+f.Count {
				out.CORE = append(out.CORE, CORE{int(c.Instruction - f.First), coreKind(c.Kind), r.typeName(c.Type), r.text(c.Access)})
			}
		}
		r.report.Programs = append(r.report.Programs, out)
	}
}

func (r *reader) functions() {
	for i, f := range r.img.Functions {
		if !f.Global || slices.ContainsFunc(r.img.Programs, func(p image.Program) bool { return p.Function == uint32(i) }) {
			continue
		}
		out := Function{Name: f.Name}
		if t, ok := r.typeByID(f.Type).(*btf.Func); ok {
			if proto, ok := t.Type.(*btf.FuncProto); ok {
				out.Type = signature(proto, cType)
				out.Layout = signature(proto, func(t btf.Type) string { return layout(t, 0) })
			}
		}
		r.report.Functions = append(r.report.Functions, out)
	}
}

// signature spells what a function takes and returns: int (void *, unsigned int).
func signature(proto *btf.FuncProto, spell func(btf.Type) string) string {
	params := make([]string, len(proto.Params))
	for i, p := range proto.Params {
		params[i] = spell(p.Type)
	}
	return fmt.Sprintf("%s (%s)", spell(proto.Return), choose(len(params) == 0, "void", strings.Join(params, ", ")))
}

// text returns a text of BTF by its offset.
func (r *reader) text(offset uint32) string {
	order := r.img.Order
	raw := r.img.BTF
	const headerLength, stringsOffset, stringsLength = 4, 16, 20
	if len(raw) < stringsLength+4 {
		return ""
	}
	start := uint64(order.Uint32(raw[headerLength:])) + uint64(order.Uint32(raw[stringsOffset:]))
	end := start + uint64(order.Uint32(raw[stringsLength:]))
	if end > uint64(len(raw)) || start+uint64(offset) >= end {
		return ""
	}
	text, _, _ := bytes.Cut(raw[start+uint64(offset):end], []byte{0})
	return quote.Text(string(text))
}

// coreKinds are the names of enum bpf_core_relo_kind, without BPF_CORE_.
var coreKinds = []string{
	"FIELD_BYTE_OFFSET", "FIELD_BYTE_SIZE", "FIELD_EXISTS", "FIELD_SIGNED", "FIELD_LSHIFT_U64", "FIELD_RSHIFT_U64",
	"TYPE_ID_LOCAL", "TYPE_ID_TARGET", "TYPE_EXISTS", "TYPE_SIZE", "ENUMVAL_EXISTS", "ENUMVAL_VALUE", "TYPE_MATCHES",
}

func coreKind(kind uint32) string {
	if int(kind) < len(coreKinds) {
		return coreKinds[kind]
	}
	return fmt.Sprintf("unknown (%d)", kind)
}

func (r *reader) maps() {
	for _, m := range r.img.Maps {
		out := Map{
			Name: m.Name, Type: subskel.MapTypeName(ebpf.MapType(m.Type)), KeySize: m.KeySize, ValueSize: m.ValueSize,
			MaxEntries: m.MaxEntries, Flags: m.Flags, Pinning: m.Pinning, Section: m.Kind.IsSection() || m.Kind == image.KconfigMap,
		}
		if !out.Section {
			out.Key, out.Value = r.typeName(m.KeyType), r.typeName(m.ValueType)
			out.KeyLayout, out.ValueLayout = r.layout(m.KeyType), r.layout(m.ValueType)
		}
		if m.Kind == image.InnerMap {
			out.Name += " (inner maps)"
		}
		r.report.Maps = append(r.report.Maps, out)
	}
}

func (r *reader) variables() {
	for _, v := range r.img.Variables {
		out := Variable{Name: v.Name, Type: r.typeName(v.Type), Layout: r.layout(v.Type), Offset: v.Offset, Size: v.Size, Visible: v.Visible, Section: "arena"}
		contents := r.img.Arena.Contents
		if v.Map != image.NoIndex {
			out.Section, contents = r.img.Maps[v.Map].Name, r.img.Maps[v.Map].Contents
		}
		if end := uint64(v.Offset) + uint64(v.Size); end <= uint64(len(contents)) {
			if value := contents[v.Offset:end]; slices.ContainsFunc(value, func(b byte) bool { return b != 0 }) {
				out.Value = hex.EncodeToString(value)
			}
		}
		r.report.Variables = append(r.report.Variables, out)
	}
}

func (r *reader) structOps() {
	for _, s := range r.img.StructOps {
		out := StructOps{Name: s.Name, Section: s.Section, Type: r.typeName(s.Type), Size: len(s.Contents), Members: []OpsMember{}}
		table, _ := r.typeByID(s.Type).(*btf.Struct)
		for _, f := range s.Funcs {
			member := OpsMember{fmt.Sprintf("at offset %d", f.Offset), r.img.Programs[f.Program].Name}
			if table != nil {
				for _, m := range table.Members {
					if m.Offset.Bytes() == f.Offset && m.Name != "" {
						member.Name = m.Name
					}
				}
			}
			out.Members = append(out.Members, member)
		}
		r.report.StructOps = append(r.report.StructOps, out)
	}
}

// sources finds the files of functions, by the line that each begins with.
func (r *reader) sources() {
	files := make(map[uint32]string)
	for _, line := range image.All(r.img.LineInfo) {
		if _, ok := files[line.Instruction]; !ok {
			files[line.Instruction] = r.text(line.File)
		}
	}
	indices := make(map[string]int)
	for _, f := range r.img.Functions {
		file := files[f.First]
		if file == "" {
			continue
		}
		file = path.Clean(file)
		i, ok := indices[file]
		if !ok {
			i = len(r.report.Sources)
			indices[file] = i
			r.report.Sources = append(r.report.Sources, Source{File: file})
		}
		s := &r.report.Sources[i]
		s.Functions = append(s.Functions, f.Name)
		s.Instructions += int(f.Count)
	}
}

func (r *reader) externs() {
	kinds := map[image.ExternKind]string{image.KsymAddress: "ksym address", image.KsymVariable: "ksym variable", image.Kfunc: "kfunc"}
	for _, e := range r.img.Externs {
		r.report.Externs = append(r.report.Externs, Extern{e.Name, kinds[e.Kind], e.Weak})
	}
	for _, k := range r.img.Kconfig {
		r.report.Kconfig = append(r.report.Kconfig, Kconfig{k.Name, k.Size, k.Weak})
	}
}

// instructions calls see with the instructions of all functions: their first 8 bytes, and
// the index of each.
func (r *reader) instructions(see func(i int, raw []byte)) {
	for i := 0; (i+1)*image.InstructionSize <= len(r.img.Code); i++ {
		raw := r.img.Code[i*image.InstructionSize:]
		see(i, raw[:image.InstructionSize])
		if raw[0] == byte(asm.LdClass)|byte(asm.ImmMode)|byte(asm.DWord) {
			i++
		}
	}
}
