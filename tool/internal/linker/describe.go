package linker

import (
	"cmp"
	"debug/elf"
	"fmt"
	"math"
	"slices"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
)

// describer makes the sections .BTF and .BTF.ext.
type describer struct {
	*linker
	graph *graph
	btf   *rawbtf.Builder
	// ids are the type IDs in the result of representatives, and of
	// variables, functions and declaration tags; 0 for those it does not have.
	ids []uint32
	// strings are the offsets in the result of the graph's names, by their indices; 0 for
	// those it does not have yet.
	strings []uint32
	// memory is that of the type that is moved.
	memory []byte
	// kept are the variables and functions of the result.
	kept map[uint32]rawbtf.Linkage
}

// describe adds the sections .BTF and .BTF.ext.
func (l *linker) describe() error {
	d := &describer{
		linker: l,
		graph:  newGraph(l.objects),
		btf:    rawbtf.NewBuilder(l.order(), nil),
		kept:   make(map[uint32]rawbtf.Linkage),
	}
	d.graph.dedup()
	d.addTypes()
	if err := d.addDatasecs(); err != nil {
		return err
	}
	ext, err := d.ext()
	if err != nil {
		return err
	}
	data, err := d.btf.Bytes()
	if err != nil {
		return fmt.Errorf("%s: section .BTF: %w", l.objects[0].name, err)
	}
	l.out.Sections = append(l.out.Sections, &elfobj.Section{Name: ".BTF", Type: elf.SHT_PROGBITS, Align: 4, Data: data})
	if len(ext.Funcs)+len(ext.Lines)+len(ext.Relos) == 0 {
		return nil
	}
	if data, err = ext.Bytes(l.order()); err != nil {
		return fmt.Errorf("%s: section .BTF.ext: %w", l.objects[0].name, err)
	}
	l.out.Sections = append(l.out.Sections, &elfobj.Section{Name: ".BTF.ext", Type: elf.SHT_PROGBITS, Align: 4, Data: data})
	return nil
}

// addTypes adds all types, variables, functions and declaration tags.
func (d *describer) addTypes() {
	d.ids = make([]uint32, len(d.graph.types))
	wanted := d.wanted()
	var types, externs, others, tags []uint32
	for i := range d.graph.types {
		n := uint32(i)
		if n == 0 || !wanted[n] {
			continue
		}
		switch linkage, isDecl := d.kept[n]; {
		case isDecl && linkage == rawbtf.Extern:
			externs = append(externs, n)
		case isDecl:
			others = append(others, n)
		case d.graph.kind(n) == rawbtf.DeclTag:
			tags = append(tags, n)
		default:
			types = append(types, n)
		}
	}
	// libbpf takes the first variable or function of a name for the extern one, even when
	// it is a static one of the same name.
	all := slices.Concat(types, externs, others)
	for i, n := range all {
		d.ids[n] = uint32(i + 1)
	}
	for _, n := range all {
		d.btf.AddCopy(d.moved(n))
	}
	added := make(map[string]bool)
	for _, n := range tags {
		// Equal types of several files have equal tags, and so do declarations.
		tag := d.moved(n)
		if key := string(tag.Raw()); !added[key] {
			added[key] = true
			d.ids[n] = d.btf.AddCopy(tag)
		}
	}
}

// moved returns a type as the result has it, until the next call.
func (d *describer) moved(n uint32) rawbtf.Type {
	i := 0
	// The types were checked when they were read.
	d.memory = d.memory[:0]
	t, _ := d.graph.types[n].typ.RewriteIn(&d.memory,
		func(uint32) uint32 {
			i++
			return d.id(d.graph.ref(n, i-1))
		},
		d.intern)
	if linkage, ok := d.kept[n]; ok {
		t.SetLinkage(linkage)
	}
	return t.Type
}

// intern returns the offset in the result of a name of the graph, by its index. Most
// names are asked for often, and an index saves looking the string up.
func (d *describer) intern(index uint32) uint32 {
	if int(index) >= len(d.strings) {
		d.strings = append(d.strings, make([]uint32, len(d.graph.names)-len(d.strings))...)
	}
	if d.strings[index] == 0 {
		d.strings[index] = d.btf.Intern(d.graph.names[index])
	}
	return d.strings[index]
}

// id returns the type ID in the result of a type in the graph.
func (d *describer) id(n uint32) uint32 { return d.ids[d.graph.canon[n]] }

// wanted returns what the result has: all but the variables and functions that
// lost, and what only these refer to. Types that nothing refers to are kept, as
// programs have them for those who read BTF, and so are those that only CO-RE
// relocations refer to: a file has its own view of a kernel's struct, which code
// reads through, and can have it from the declaration of another file's function.
func (d *describer) wanted() []bool {
	g := d.graph
	lost := make([]bool, len(g.types))
	wanted := make([]bool, len(g.types))
	var roots, losers []uint32
	for _, obj := range d.objects {
		for id := uint32(1); id < obj.btf.Len(); id++ {
			n := obj.graphID(id)
			switch obj.btf.At(id).Kind() {
			case rawbtf.Var, rawbtf.Func:
				if linkage, ok := d.keeps(obj, id); ok && d.inResult(obj, id) {
					d.kept[n] = linkage
					roots = append(roots, n)
				} else {
					losers = append(losers, n)
				}
			case rawbtf.Datasec:
				lost[n] = true
			}
		}
	}
	visit := func(seen []bool, stack []uint32, canon bool) {
		for len(stack) > 0 {
			n := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if canon {
				n = g.canon[n]
			}
			if n == 0 || seen[n] {
				continue
			}
			seen[n] = true
			for i := range g.types[n].refs {
				stack = append(stack, g.ref(n, i))
			}
		}
	}
	visit(lost, losers, false)
	roots = append(roots, d.accessed()...)
	// Only now, as what a loser refers to is not what the winner refers to.
	d.inheritTags()
	for i := range g.types {
		n := uint32(i)
		switch g.kind(n) {
		case rawbtf.Var, rawbtf.Func, rawbtf.Datasec, rawbtf.DeclTag:
		default:
			if !lost[n] {
				roots = append(roots, n)
			}
		}
	}
	visit(wanted, roots, true)
	for i := range g.types {
		if n := uint32(i); g.kind(n) == rawbtf.DeclTag {
			wanted[n] = wanted[g.canon[g.types[n].refs[0]]]
		}
	}
	return wanted
}

// accessed returns the types that CO-RE relocations of the result refer to.
func (d *describer) accessed() []uint32 {
	var types []uint32
	for _, obj := range d.objects {
		for _, sec := range obj.ext.Relos {
			p := obj.inputNamed(obj.btf.String(sec.Name))
			if p == nil || p.duplicate {
				continue
			}
			for _, r := range sec.Records {
				// Other records are refused as damaged when they are moved.
				if r.Type < obj.btf.Len() && !p.isCut(uint64(r.Offset)) {
					types = append(types, obj.graphID(r.Type))
				}
			}
		}
	}
	return types
}

// inheritTags makes the variable or function that the result has the representative of
// those that lost to it, so that it inherits their declaration tags: clang writes the
// tags of a prototype's parameters ("arg:ctx") in the files that call it, and the loader
// looks for them at the function itself.
func (d *describer) inheritTags() {
	for g := range d.all {
		winner := g.chosen()
		n := winner.obj.graphID(winner.id)
		if _, ok := d.kept[n]; !ok {
			continue
		}
		for _, u := range g.refs {
			loser := u.obj.graphID(u.id)
			if _, ok := d.kept[loser]; !ok && loser != 0 {
				d.graph.canon[loser] = n
			}
		}
	}
}

// inResult reports whether a static variable or function is in a section of its file that
// the result has.
func (d *describer) inResult(obj *object, id uint32) bool {
	in, ok := obj.secinfos[id]
	if !ok || obj.btf.At(id).Linkage() != rawbtf.Static {
		return true
	}
	p := obj.inputNamed(in.section)
	return p != nil && !p.duplicate && !p.isCut(uint64(in.Offset))
}

// inputNamed returns the input section of the file that has the name, nil when there is none.
func (obj *object) inputNamed(name string) *inputSection {
	for _, p := range obj.order {
		if p.sec.Name == name {
			return p
		}
	}
	return nil
}

// addDatasecs adds the DATASECs.
func (d *describer) addDatasecs() error {
	entries := make(map[string][]rawbtf.Secinfo)
	var names []string
	for _, obj := range d.objects {
		for id := uint32(1); id < obj.btf.Len(); id++ {
			if obj.btf.At(id).Kind() != rawbtf.Datasec || obj.btf.At(id).Name() == externDatasec {
				continue
			}
			add := func(name string) {
				if _, ok := entries[name]; !ok {
					entries[name] = []rawbtf.Secinfo{}
					names = append(names, name)
				}
			}
			add(obj.btf.At(id).Name())
			for i := range obj.btf.At(id).Vlen() {
				info := obj.btf.At(id).Secinfo(i)
				if _, ok := d.kept[obj.graphID(info.Type)]; ok {
					name := obj.secinfos[info.Type].section
					add(name)
					info.Offset = d.offset(obj, name, info)
					info.Type = d.id(obj.graphID(info.Type))
					entries[name] = append(entries[name], info)
				}
			}
		}
	}
	for _, name := range names {
		vars := entries[name]
		size := uint64(0)
		if sec := d.byName[name]; sec != nil {
			size = sizeOf(sec.Section)
		} else if len(vars) == 0 {
			continue
		}
		if len(vars) > math.MaxUint16 {
			return fmt.Errorf("%s: section %s: has %d variables together with the other files, more than BTF can list: put some into sections of their own", d.objects[0].name, quote.Name(name), len(vars))
		}
		slices.SortStableFunc(vars, func(a, b rawbtf.Secinfo) int { return cmp.Compare(a.Offset, b.Offset) })
		d.btf.AddDatasec(name, uint32(size), vars)
	}
	return nil
}

// offset returns where in its section a variable is.
func (d *describer) offset(obj *object, section string, info rawbtf.Secinfo) uint32 {
	p := obj.inputNamed(section)
	switch {
	case p == nil:
	case obj.btf.At(info.Type).Linkage() == rawbtf.Static:
		// The compiler and linkers write the offsets of these.
		return uint32(p.resultOffset(int64(info.Offset)))
	default:
		// The compiler leaves those of others to symbols, which linkers move.
		for _, u := range d.globals[obj.btf.At(info.Type).Name()].refs {
			if u.obj == obj && u.id == info.Type && u.defines() {
				return uint32(p.resultOffset(int64(u.sym.Value)))
			}
		}
	}
	return 0
}

// ext makes the contents of .BTF.ext.
func (d *describer) ext() (*rawbtf.Ext, error) {
	out := new(rawbtf.Ext)
	c := &collector{describer: d}
	for _, sec := range d.sections {
		var funcs []rawbtf.FuncInfo
		var lines []rawbtf.LineInfo
		var relos []rawbtf.CoreRelo
		for _, p := range sec.inputs {
			c.input = p
			// Each record's offset comes first.
			f, err1 := collect(c, p.obj.ext.Funcs, func(r *rawbtf.FuncInfo) *uint32 { return &r.Offset }, c.funcInfo)
			n, err2 := collect(c, p.obj.ext.Lines, func(r *rawbtf.LineInfo) *uint32 { return &r.Offset }, c.lineInfo)
			r, err3 := collect(c, p.obj.ext.Relos, func(r *rawbtf.CoreRelo) *uint32 { return &r.Offset }, c.coreRelo)
			for _, err := range []error{err1, err2, err3} {
				if err != nil {
					return nil, inFile(p.obj.name, bpfobj.BTFError(".BTF.ext", err))
				}
			}
			funcs, lines, relos = append(funcs, f...), append(lines, n...), append(relos, r...)
		}
		if len(funcs) > 0 {
			out.Funcs = append(out.Funcs, rawbtf.ExtSection[rawbtf.FuncInfo]{Name: d.btf.Intern(sec.Name), Records: funcs})
		}
		if len(lines) > 0 {
			out.Lines = append(out.Lines, rawbtf.ExtSection[rawbtf.LineInfo]{Name: d.btf.Intern(sec.Name), Records: lines})
		}
		if len(relos) > 0 {
			out.Relos = append(out.Relos, rawbtf.ExtSection[rawbtf.CoreRelo]{Name: d.btf.Intern(sec.Name), Records: relos})
		}
	}
	return out, nil
}

// collector moves the records of one input section.
type collector struct {
	*describer
	input *inputSection
}

// collect returns the records of the input section, in order.
func collect[T any](c *collector, all []rawbtf.ExtSection[T], offset func(*T) *uint32, move func(*T) error) ([]T, error) {
	var out []T
	for _, sec := range all {
		if c.input.obj.btf.String(sec.Name) != c.input.sec.Name {
			continue
		}
		for _, r := range sec.Records {
			off := offset(&r)
			if c.input.isCut(uint64(*off)) {
				continue
			}
			if uint64(*off) >= uint64(len(c.input.sec.Data)) || *off%elfobj.InsnSize != 0 {
				return nil, rawbtf.ErrDamaged
			}
			if err := move(&r); err != nil {
				return nil, err
			}
			*off = uint32(c.input.resultOffset(int64(*off)))
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b T) int { return cmp.Compare(*offset(&a), *offset(&b)) })
	return out, nil
}

// move returns the type ID in the result of a type.
func (c *collector) move(id uint32) (uint32, error) {
	if id >= c.input.obj.btf.Len() {
		return 0, rawbtf.ErrDamaged
	}
	n := c.id(c.input.obj.graphID(id))
	if n == 0 && id != 0 {
		return 0, rawbtf.ErrDamaged
	}
	return n, nil
}

func (c *collector) intern(off uint32) (uint32, error) {
	if !c.input.obj.btf.HasString(off) {
		return 0, rawbtf.ErrDamaged
	}
	return c.describer.intern(c.graph.text(c.input.obj, off)), nil
}

func (c *collector) funcInfo(r *rawbtf.FuncInfo) (err error) {
	r.Type, err = c.move(r.Type)
	return err
}

func (c *collector) lineInfo(r *rawbtf.LineInfo) (err error) {
	if r.File, err = c.intern(r.File); err != nil {
		return err
	}
	r.Text, err = c.intern(r.Text)
	return err
}

// The kinds of CO-RE relocations whose instruction holds a type ID: that
// of the object, which the compiler wrote, and the kernel's, for which it wrote the
// object's.
const (
	coreTypeIDLocal  = 6 // BPF_CORE_TYPE_ID_LOCAL
	coreTypeIDTarget = 7 // BPF_CORE_TYPE_ID_TARGET
)

func (c *collector) coreRelo(r *rawbtf.CoreRelo) (err error) {
	old := r.Type
	if r.Type, err = c.move(r.Type); err != nil {
		return err
	}
	if r.Kind == coreTypeIDLocal || r.Kind == coreTypeIDTarget {
		at := c.input.resultOffset(int64(r.Offset)) + 4
		if data := c.input.out.Data; at+4 <= int64(len(data)) && c.order().Uint32(data[at:]) == old {
			c.order().PutUint32(data[at:], r.Type)
		}
	}
	r.Access, err = c.intern(r.Access)
	return err
}
