package gotype

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Import makes the C types that another Go package declares, as names from [Decls.Share], types
// of that package, which is imported as alias. Their layout is asserted here too. It is called
// before anything is declared.
func (d *Decls) Import(alias string, names map[string]string) {
	d.byKey()
	d.alias, d.shared = alias, names
}

// Imports reports whether a type of the other package is used.
func (d *Decls) Imports() bool { return len(d.imported) > 0 }

// importedName returns the name of the other package's declaration with the key.
func (d *Decls) importedName(key string) (string, bool) {
	name, ok := d.shared[digest(key)]
	return d.alias + "." + name, ok
}

// digest identifies a declaration outside of this process.
func digest(key string) string {
	sum := sha256.Sum256([]byte(key))
	return fmt.Sprintf("%x", sum[:16])
}

// baseName returns the beginning of the names of unnamed types in t.
func (d *Decls) baseName(t *structType) string {
	if t.imported {
		return strings.TrimPrefix(t.name, d.alias+".")
	}
	return strings.TrimPrefix(t.name, d.Prefix)
}

// appendSize appends the assertion of the size of a number that another package declares.
func (o *origin) appendSize(b []byte, name string, under basicType) []byte {
	if !o.imported {
		return b
	}
	return fmt.Appendf(b, "\t_ = [1]struct{}{}[unsafe.Sizeof(%s(0))-%d]\n", name, under.size)
}

// Share keeps only those declarations that several objects can share, after the types of each
// object were declared as those of a variant. It returns their names for [Decls.Import], and
// the C types that differ between objects. Not shared are these and the types that contain
// them, types that are named after a map or variable, and tables of programs.
func (d *Decls) Share() (names map[string]string, differing []string) {
	names = make(map[string]string)
	keys := make(map[Type]string)
	for key, t := range d.layouts {
		keys[t] = key
	}
	for key, t := range d.scalars {
		keys[t] = key.text()
	}
	s := sharing{d: d, known: make(map[decl]bool)}
	keep := make(map[decl]bool)
	left := make(map[string]bool)
	for _, t := range d.list {
		id := t.from().id
		switch {
		case d.differing[id] && !isPlace(id):
			left[id] = true
		case !isPlace(id) && s.can(t):
			s.mark(t, keep)
		}
	}
	d.list = slices.DeleteFunc(d.list, func(t decl) bool { return !keep[t] })
	for _, t := range d.list {
		names[digest(keys[t])] = strings.TrimPrefix(t.String(), d.Prefix)
	}
	return names, slices.Sorted(maps.Keys(left))
}

func isPlace(id string) bool { return strings.HasPrefix(id, "place ") }

// sharing finds out what can be shared.
type sharing struct {
	d     *Decls
	known map[decl]bool
}

// can reports whether a declaration and all that it consists of can be shared.
func (s *sharing) can(t decl) bool {
	if can, ok := s.known[t]; ok {
		return can
	}
	id := t.from().id
	can := !s.d.differing[id] && !strings.HasPrefix(id, "table ")
	if e, ok := t.(*enumType); ok && e.differs {
		can = false
	}
	for _, part := range parts(t) {
		can = s.can(part) && can
	}
	s.known[t] = can
	return can
}

// mark keeps a declaration and what it consists of.
func (s *sharing) mark(t decl, keep map[decl]bool) {
	if keep[t] {
		return
	}
	keep[t] = true
	for _, part := range parts(t) {
		s.mark(part, keep)
	}
}

// parts returns the declarations that one refers to.
func parts(t decl) []decl {
	s, ok := t.(*structType)
	if !ok {
		return nil
	}
	var all []decl
	add := func(t Type) {
		for {
			array, ok := t.(arrayType)
			if !ok {
				break
			}
			t = array.elem
		}
		if part, ok := t.(decl); ok {
			all = append(all, part)
		}
	}
	for _, f := range s.fields {
		add(f.typ)
	}
	for _, m := range s.methods {
		add(m.typ)
	}
	return all
}
