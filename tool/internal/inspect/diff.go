package inspect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Concern is what a change affects.
type Concern string

const (
	// Nobody is affected: what was there is still there, and means the same.
	Nobody Concern = "nobody"
	// Code: Go code that uses it has to change, or means something else now; of a function,
	// C code.
	Code Concern = "code"
	// Data: bytes that were stored, in a pinned map for one, or that another program
	// writes, mean something else now.
	Data Concern = "data"
	// Behavior: the same Go code does something else.
	Behavior Concern = "behavior"
	// Kernel: it needs more of a kernel, or other rights to load it.
	Kernel Concern = "kernel"
)

// Change is something that two objects do not have in common.
type Change struct {
	// Change is added, removed or changed.
	Change string `json:"change"`
	// What is the thing: program, function, map, variable, type, member, constant, struct_ops, extern,
	// Kconfig option, source, need, capability or object. Name is its name, empty for the
	// object.
	What string `json:"what"`
	Name string `json:"name,omitempty"`
	// Of is the property that is not the same, empty when the thing was added or removed.
	Of string `json:"of,omitempty"`
	// Old and New are what the objects have.
	Old string `json:"old,omitempty"`
	New string `json:"new,omitempty"`
	// Concern is who has to look at it.
	Concern Concern `json:"concern"`
}

// Diff is what changes for users of an object's package from one version to the next.
type Diff struct {
	Old string `json:"old"`
	New string `json:"new"`
	// Changes are in the order of a report: programs, maps, variables and so on.
	Changes []Change `json:"changes"`
}

// Compare compares two objects. Names are those of C: what is called something else was
// removed, and something was added. Static and hidden variables are left out, as packages do
// not show them, and so is where a variable lies.
func Compare(old, new *Report) *Diff {
	d := &differ{&Diff{Old: old.Name, New: new.Name, Changes: []Change{}}}
	each(d, "program", old.Programs, new.Programs, func(p *Program) (string, string) { return p.Name, `SEC("` + p.Section + `")` }, Code, nil, func(a, b *Program) {
		d.property("program", a.Name, "SEC", a.Section, b.Section, Behavior)
	})
	each(d, "function", old.Functions, new.Functions, func(f *Function) (string, string) { return f.Name, f.Type }, Code, nil, func(a, b *Function) {
		d.typed("function", a.Name, "type", a.Type, b.Type, a.Layout, b.Layout)
	})
	d.maps(old.Maps, new.Maps)
	d.variables(old.Variables, new.Variables)
	d.types(old.Types, new.Types)
	d.structOps(old.StructOps, new.StructOps)
	each(d, "extern", old.Externs, new.Externs, func(e *Extern) (string, string) { return e.Name, e.Kind }, Nobody, func(e *Extern) Concern {
		if e.Weak {
			return Nobody
		}
		return Kernel
	}, func(a, b *Extern) {
		d.property("extern", a.Name, "kind", a.Kind, b.Kind, Behavior)
		d.property("extern", a.Name, "weak", yesNo(a.Weak), yesNo(b.Weak), Kernel)
	})
	each(d, "Kconfig option", old.Kconfig, new.Kconfig, func(k *Kconfig) (string, string) { return k.Name, "" }, Code, nil, func(a, b *Kconfig) {
		d.property("Kconfig option", a.Name, "weak", yesNo(a.Weak), yesNo(b.Weak), Kernel)
	})
	each(d, "source", old.Sources, new.Sources, func(s *Source) (string, string) { return s.File, "" }, Nobody, nil, func(a, b *Source) {})
	d.object(old, new)
	return d.diff
}

type differ struct{ diff *Diff }

func (d *differ) add(c Change) { d.diff.Changes = append(d.diff.Changes, c) }

// property adds a change of a property, when the two are not the same.
func (d *differ) property(what, name, of, old, new string, concern Concern) {
	if old != new {
		d.add(Change{"changed", what, name, of, old, new, concern})
	}
}

// typed adds a change of a type, and reports whether there is one: types that Go code sees
// alike are the same. Where the typedefs are the same, the change shows the types that they
// name.
func (d *differ) typed(what, name, of, old, new, oldLayout, newLayout string) bool {
	if oldLayout == newLayout {
		return false
	}
	if old == new {
		old, new = oldLayout, newLayout
	}
	d.property(what, name, of, old, new, Code)
	return true
}

// each compares the things of two lists that have the same name, and adds those that one
// list lacks. Of several with one name, the first is compared with the first, and so on. describe
// returns the name of a thing and a note about it, gone is the concern of one that was
// removed, and come that of one that was added, Nobody when it is nil.
func each[T any](d *differ, what string, old, new []T, describe func(*T) (name, about string), gone Concern, come func(*T) Concern, both func(a, b *T)) {
	type key struct {
		name string
		nth  int
	}
	index := func(list []T) (keys []key, all map[key]int) {
		keys, all = make([]key, len(list)), make(map[key]int, len(list))
		count := make(map[string]int)
		for i := range list {
			name, _ := describe(&list[i])
			keys[i] = key{name, count[name]}
			count[name]++
			all[keys[i]] = i
		}
		return keys, all
	}
	oldKeys, oldAll := index(old)
	newKeys, newAll := index(new)
	for i, k := range oldKeys {
		if j, ok := newAll[k]; ok {
			both(&old[i], &new[j])
		} else {
			_, about := describe(&old[i])
			d.add(Change{"removed", what, k.name, "", about, "", gone})
		}
	}
	for i, k := range newKeys {
		if _, ok := oldAll[k]; !ok {
			concern := Nobody
			if come != nil {
				concern = come(&new[i])
			}
			_, about := describe(&new[i])
			d.add(Change{"added", what, k.name, "", "", about, concern})
		}
	}
}

func yesNo(b bool) string { return choose(b, "yes", "no") }

func (d *differ) maps(old, new []Map) {
	declared := func(maps []Map) []Map {
		return slices.DeleteFunc(slices.Clone(maps), func(m Map) bool { return m.Section })
	}
	each(d, "map", declared(old), declared(new), func(m *Map) (string, string) { return m.Name, m.Type }, Code, nil, func(a, b *Map) {
		d.property("map", a.Name, "type", a.Type, b.Type, Code)
		d.side(a, "key", a.Key, b.Key, a.KeyLayout, b.KeyLayout, a.KeySize, b.KeySize)
		d.side(a, "value", a.Value, b.Value, a.ValueLayout, b.ValueLayout, a.ValueSize, b.ValueSize)
		d.property("map", a.Name, "max_entries", fmt.Sprint(a.MaxEntries), fmt.Sprint(b.MaxEntries), Behavior)
		d.property("map", a.Name, "flags", fmt.Sprintf("%#x", a.Flags), fmt.Sprintf("%#x", b.Flags), Behavior)
		d.property("map", a.Name, "pinning", fmt.Sprint(a.Pinning), fmt.Sprint(b.Pinning), Behavior)
	})
}

// side compares the keys or the values of two maps.
func (d *differ) side(m *Map, of, old, new, oldLayout, newLayout string, oldSize, newSize uint32) {
	d.typed("map", m.Name, of, old, new, oldLayout, newLayout)
	d.property("map", m.Name, of+" size", fmt.Sprint(oldSize), fmt.Sprint(newSize), Data)
}

func (d *differ) variables(old, new []Variable) {
	visible := func(list []Variable) []Variable {
		return slices.DeleteFunc(slices.Clone(list), func(v Variable) bool { return !v.shown() })
	}
	each(d, "variable", visible(old), visible(new), func(v *Variable) (string, string) { return v.Name, v.Type }, Code, nil, func(a, b *Variable) {
		d.property("variable", a.Name, "section", a.Section, b.Section, Code)
		if d.typed("variable", a.Name, "type", a.Type, b.Type, a.Layout, b.Layout) {
			return
		}
		d.property("variable", a.Name, "value", choose(a.Value == "", "0", a.Value), choose(b.Value == "", "0", b.Value), Behavior)
	})
}

// shortenBoth shortens two values that are not the same, to parts that are not.
func shortenBoth(a, b string) (string, string) {
	same := 0
	for same < min(len(a), len(b)) && a[same] == b[same] {
		same++
	}
	// Whole bytes, some of those before among them.
	same = max(0, same-8) &^ 1
	if shorten(a) != shorten(b) {
		same = 0
	}
	before := choose(same > 0, "...", "")
	return before + shorten(a[same:]), before + shorten(b[same:])
}

func shorten(value string) string {
	const most = 32
	switch {
	case value == "":
		return "0"
	case len(value) > most:
		return value[:most] + "..."
	}
	return value
}

func (d *differ) types(old, new []Type) {
	about := func(t *Type) (string, string) { return t.Name, fmt.Sprintf("%d bytes", t.Size) }
	shown := func(list []Type) []Type {
		return slices.DeleteFunc(slices.Clone(list), func(t Type) bool { return t.hidden })
	}
	each(d, "type", shown(old), shown(new), about, Code, nil, func(a, b *Type) {
		d.property("type", a.Name, "kind", a.Kind, b.Kind, Code)
		laidOut := !a.table || !b.table
		if laidOut {
			d.property("type", a.Name, "size", fmt.Sprint(a.Size), fmt.Sprint(b.Size), Data)
		}
		d.property("type", a.Name, "signed", yesNo(a.Signed), yesNo(b.Signed), Code)
		in := func(name string) string { return a.Name + ": " + name }
		each(d, "member", a.Members, b.Members, func(m *Member) (string, string) { return in(m.Name), m.Type }, Code, nil, func(x, y *Member) {
			d.typed("member", in(x.Name), "type", x.Type, y.Type, x.Layout, y.Layout)
			if laidOut {
				d.property("member", in(x.Name), "offset", x.position(), y.position(), Data)
			}
		})
		each(d, "constant", a.Constants, b.Constants, func(c *Constant) (string, string) { return in(c.Name), fmt.Sprint(c.Value) }, Code, nil, func(x, y *Constant) {
			d.property("constant", in(x.Name), "value", fmt.Sprint(x.Value), fmt.Sprint(y.Value), Data)
		})
	})
}

func (d *differ) structOps(old, new []StructOps) {
	each(d, "struct_ops", old, new, func(s *StructOps) (string, string) { return s.Name, s.Type }, Code, nil, func(a, b *StructOps) {
		d.property("struct_ops", a.Name, "type", a.Type, b.Type, Code)
		d.property("struct_ops", a.Name, "section", a.Section, b.Section, Behavior)
		in := func(m *OpsMember) (string, string) { return a.Name + ": " + m.Name, m.Program }
		each(d, "member", a.Members, b.Members, in, Behavior, nil, func(x, y *OpsMember) {
			d.property("member", a.Name+": "+x.Name, "program", x.Program, y.Program, Behavior)
		})
	})
}

// object compares what is of the whole object.
func (d *differ) object(old, new *Report) {
	d.property("object", "", "byte order", old.ByteOrder, new.ByteOrder, Code)
	d.property("object", "", "license", old.License, new.License, Behavior)
	each(d, "need", old.Needs, new.Needs, func(n *Need) (string, string) { return n.What, n.Since }, Nobody, func(n *Need) Concern {
		if n.Since == unknown || old.Kernel == "" || compareVersions(n.Since, old.Kernel) > 0 {
			return Kernel
		}
		return Nobody
	}, func(a, b *Need) {})
	for _, c := range new.Capabilities {
		if !slices.Contains(old.Capabilities, c) {
			d.add(Change{"added", "capability", c, "", "", "", Kernel})
		}
	}
	for _, c := range old.Capabilities {
		if !slices.Contains(new.Capabilities, c) {
			d.add(Change{"removed", "capability", c, "", "", "", Nobody})
		}
	}
	if old.Kernel != new.Kernel {
		concern := Nobody
		if new.Kernel != "" && (old.Kernel == "" || compareVersions(new.Kernel, old.Kernel) > 0) {
			concern = Kernel
		}
		d.add(Change{"changed", "object", "", "Linux, at least", choose(old.Kernel == "", unknown, old.Kernel), choose(new.Kernel == "", unknown, new.Kernel), concern})
	}
}

// JSON returns the changes for programs, indented.
func (d *Diff) JSON() ([]byte, error) {
	data, err := json.MarshalIndent(d, "", "  ")
	return append(data, '\n'), err
}

// Text returns the changes for people: nothing when there are none.
func (d *Diff) Text() []byte {
	var b bytes.Buffer
	writeTable(&b, "CONCERNS\tCHANGE\tWHAT\tOLD\tNEW", len(d.Changes), func(i int) []string {
		c := d.Changes[i]
		what := strings.TrimSpace(c.What + " " + c.Name)
		if c.Of != "" {
			what += ", " + c.Of
		}
		if c.What == "variable" && c.Of == "value" {
			c.Old, c.New = shortenBoth(c.Old, c.New)
		}
		return []string{choose(c.Concern == Nobody, "-", string(c.Concern)), c.Change, what, choose(c.Old == "", "-", c.Old), choose(c.New == "", "-", c.New)}
	})
	return b.Bytes()
}
