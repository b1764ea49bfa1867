package gotype

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/ctype"
	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/tool/internal/gonames"
)

const (
	// maxAlign is the largest alignment that a Go type can have.
	maxAlign = 8
	// maxMembers bounds the members of a struct, with those of anonymous ones in
	// it, for the same reason as maxDepth.
	maxMembers = 1 << 16
)

// layout lays out one struct: it collects what the struct consists of, and then
// gives each part a field, or bytes and methods.
type layout struct {
	d *Decls
	t *structType
	// section is the name in C of the data section whose variables the members are.
	section string
	// members are the Go names of the members.
	members map[string]bool
	slots   []slot
	visited int
	end     uint64 // of the last field, in bytes
	// programs is true when function pointers of the struct itself are programs.
	programs bool
	// align is the largest alignment of a field, and want the largest of those
	// that methods hand out addresses of.
	align, want uint64
}

// slot is a part of a struct that shares no bit with other parts: a member, or
// an anonymous union with all of its members.
type slot struct {
	start, end uint64 // in bits
	union      bool
	members    []member
}

// member is a member of C, those of anonymous structs and unions included.
type member struct {
	c     string
	typ   btf.Type
	start uint64 // in bits from the start of the struct
	bits  uint64 // the width of a bit-field, 0 for other members
	// size is that of a variable; of a member of a struct, the type alone says it.
	size     uint64
	variable bool
	// note is what the comment says of a variable after its name.
	note string
	// program is true when the member is a pointer to a function of the struct itself,
	// not one of an anonymous struct or union in it.
	program bool

	goName string
	goType Type
	kind   kind
}

// inC returns the name of the member, with its type where Go cannot express it.
func (m *member) inC() string { return quote.Text(m.c) + TypeNote(m.typ, m.goType) }

// TypeNote returns what follows the C name in the comment of a field. For pointers and
// programs, whose Go types do not show what they point to, it is ", " and the type in C,
// without typedefs.
func TypeNote(c btf.Type, goType Type) string {
	elem := goType
	for {
		array, ok := elem.(arrayType)
		if !ok {
			break
		}
		elem = array.elem
	}
	if elem != pointerType && elem != programType {
		return ""
	}
	return ", " + ctype.Declare(ctype.Underlying(c), "")
}

// kind is what a member becomes in Go.
type kind int

const (
	plain     kind = iota // a field
	byValue               // two methods, to get and to set
	byAddress             // a method that returns its address
	bitField              // two methods, with shifts
	flexible              // a method that returns a slice
	nothing               // has no bytes
)

func newLayout(d *Decls, t *structType) *layout {
	return &layout{d: d, t: t, align: 1, want: 1}
}

// hide makes the struct one gap of that size.
func (l *layout) hide(size uint64) {
	align := min(size&-size, maxAlign)
	word := unsigned[uint32(align)]
	l.t.doc += ", which is the kernel's: nothing in it is for user space"
	l.t.fields = []field{{typ: arrayType{word, uint32(size / align)}}}
	l.t.size, l.t.alignment = size, align
}

// flatten adds members as slots; base is where they start, in bits.
func (l *layout) flatten(members []btf.Member, base uint64, depth int) error {
	for _, m := range members {
		l.visited++
		if depth > maxDepth || l.visited > maxMembers {
			return inside("."+memberName(m), fail(m.Type, "is nested too deep"))
		}
		start := base + uint64(m.Offset)
		if m.Name != "" {
			l.slots = append(l.slots, slot{start: start, members: []member{{
				c: m.Name, typ: m.Type, start: start, bits: uint64(m.BitfieldSize),
				program: l.programs && depth == 0 && isFuncPointer(m.Type),
			}}})
			continue
		}
		if m.BitfieldSize > 0 {
			// A gap that the programmer asked for: int : 3.
			continue
		}
		var err error
		switch c := ctype.Underlying(m.Type).(type) {
		case *btf.Struct:
			err = l.flatten(c.Members, start, depth+1)
		case *btf.Union:
			err = l.flattenUnion(c, start, depth+1)
		default:
			err = fail(m.Type, "a member without a name is not supported")
		}
		if err != nil {
			return inside("."+memberName(m), err)
		}
	}
	return nil
}

// flattenUnion adds a union as one slot.
func (l *layout) flattenUnion(c *btf.Union, start uint64, depth int) error {
	first := len(l.slots)
	if err := l.flatten(c.Members, start, depth); err != nil {
		return err
	}
	u := slot{start: start, end: start + uint64(c.Size)*8, union: true}
	for _, s := range l.slots[first:] {
		u.members = append(u.members, s.members...)
	}
	l.slots = append(l.slots[:first], u)
	return nil
}

func memberName(m btf.Member) string {
	if m.Name == "" {
		return "(anonymous)"
	}
	return quote.Text(m.Name)
}

// finish gives the struct its fields and methods. C is the struct, nil for a
// section.
func (l *layout) finish(size uint64, c btf.Type, depth int) []error {
	// BTF does not promise an order.
	slices.SortStableFunc(l.slots, func(a, b slot) int { return cmp.Compare(a.start, b.start) })
	// Go's size of a struct is a multiple of its alignment. Where C's is not, as in
	// a packed struct, no member may ask for more alignment than the size allows.
	limit := uint64(maxAlign)
	prefix := ""
	if c != nil {
		prefix = "."
		if size > 0 {
			limit = min(limit, size&-size)
		}
	}
	var errs []error
	bad := func(m *member, err error) {
		errs = append(errs, inside(prefix+quote.Text(m.c), err))
	}
	l.name()
	for i := range l.slots {
		s := &l.slots[i]
		for j := range s.members {
			m := &s.members[j]
			end, err := l.convert(m, s.union, limit, depth)
			switch {
			case err != nil && c != nil:
				// Only one error of a struct is reported. Two members of a type that has one
				// would look for it twice each, and so on down.
				return []error{inside(prefix+quote.Text(m.c), err)}
			case err != nil:
				bad(m, err)
			case !s.union:
				s.end = end
			case m.start < s.start || end > s.end:
				bad(m, fail(m.typ, "lies beyond the end of its union"))
			}
		}
	}
	if errs != nil {
		return errs
	}
	var end uint64
	for i, s := range l.slots {
		if s.start < end && s.end > s.start {
			m := member{c: "(anonymous)", typ: c}
			if len(s.members) > 0 {
				m = s.members[0]
			}
			bad(&m, fail(m.typ, fmt.Sprintf("is at offset %d, within what comes before it", s.start/8)))
		}
		end = max(end, l.slots[i].end)
	}
	if errs != nil {
		return errs
	}
	if end > size*8 {
		if c == nil {
			return []error{&Error{Path: l.t.name, C: "section", Why: fmt.Sprintf("has %d bytes, fewer than its variables", size)}}
		}
		return []error{fail(c, fmt.Sprintf("has %d bytes, fewer than its members", size))}
	}
	l.place()
	align := max(l.align, l.want)
	if c == nil {
		size = (size + align - 1) / align * align
	}
	l.pad(size)
	if l.want > l.align {
		// Without a length it takes no space, and Go aligns the struct for it.
		word := arrayType{unsigned[uint32(l.want)], 0}
		l.t.fields = slices.Insert(l.t.fields, 0, field{typ: word})
	}
	l.t.size, l.t.alignment = size, align
	return nil
}

// name names the members first and the other methods after them, so that the name of a
// member does not depend on the types of others.
func (l *layout) name() {
	var c []string
	for _, s := range l.slots {
		for _, m := range s.members {
			c = append(c, m.c)
		}
	}
	goNames := gonames.AssignIn(l.section, c)
	l.members = make(map[string]bool, len(c))
	for i := range l.slots {
		for j := range l.slots[i].members {
			l.slots[i].members[j].goName, goNames = goNames[0], goNames[1:]
			l.members[l.slots[i].members[j].goName] = true
		}
	}
}

// methodName returns the name of a method that a member needs besides its own name:
// SetX, AsX or WithX, of which X is spelt in full when a member has the name.
func (l *layout) methodName(prefix string, m *member) string {
	if name := prefix + m.goName; !l.members[name] {
		return name
	}
	return prefix + gonames.Exact(m.c)
}

// convert finds the Go type and the kind of a member, and where it ends, in bits.
func (l *layout) convert(m *member, union bool, limit uint64, depth int) (uint64, error) {
	at := place{goName: l.d.baseName(l.t) + m.goName, c: "the type of " + quote.Text(m.c) + " in " + l.t.name}
	if m.variable {
		at.c = "the type of " + quote.Text(m.c)
	}
	if a, ok := ctype.Underlying(m.typ).(*btf.Array); ok && a.Nelems == 0 && !m.variable {
		elem, err := l.d.element(a, at, depth)
		if err != nil {
			return 0, err
		}
		m.goType, m.kind = elem, flexible
		switch {
		case m.start%8 != 0:
			return 0, fail(m.typ, "does not start at a byte")
		case elem.Size() == 0:
			m.kind = nothing
		case elem.align() > limit || m.start/8%elem.align() != 0:
			m.goType = arrayType{byteType, uint32(elem.Size())}
		default:
			l.want = max(l.want, elem.align())
		}
		return m.start, nil
	}
	if m.program {
		if m.bits > 0 || m.start%(8*programType.alignment) != 0 || limit < programType.alignment {
			return 0, fail(m.typ, "is a function pointer that is not aligned")
		}
		m.goType = programType
		return m.start + programType.size*8, nil
	}
	typ, err := l.d.convertMember(m.typ, at, depth+1)
	if err != nil {
		return 0, err
	}
	m.goType = typ
	size := typ.Size()
	if m.bits > 0 {
		if wide, ok := typ.(basicType); ok && size > 8 && m.bits <= size*8 {
			if m.bits > 64 {
				return 0, fail(m.typ, fmt.Sprintf("is a bit-field of %d bits, wider than 64 bits: make it two", m.bits))
			}
			// The runtime's integers of 128 bits have no arithmetic, and the bit-field has no
			// need of them.
			m.goType, size = unsigned[8], 8
			if wide == signed[16] {
				m.goType = signed[8]
			}
		}
		if _, ok := number(m.goType); !ok || m.bits > size*8 {
			return 0, fail(m.typ, fmt.Sprintf("is not the type of a bit-field of %d bits", m.bits))
		}
		m.kind = bitField
		return m.start + m.bits, nil
	}
	if m.start%8 != 0 {
		return 0, fail(m.typ, "does not start at a byte")
	}
	if m.variable {
		if err := fits(m.typ, size, m.size); err != nil {
			return 0, err
		}
		size = m.size
	}
	offset := m.start / 8
	switch {
	case typ.Size() == 0:
		m.kind = nothing
	case typ.align() > limit || offset%typ.align() != 0:
		m.kind = byValue
	case union:
		m.kind = byAddress
		l.want = max(l.want, typ.align())
	}
	return m.start + size*8, nil
}

// convertMember is convert for a member. A type without bytes becomes no field, so
// that it is not declared.
func (d *Decls) convertMember(t btf.Type, at place, depth int) (Type, error) {
	if d.empty[t] {
		return nothingType, nil
	}
	mark := d.mark()
	typ, err := d.convert(t, at, depth)
	if err != nil || typ.Size() > 0 {
		return typ, err
	}
	d.forget(mark)
	d.empty[t] = true
	return nothingType, nil
}

// nothingType is used for all types without bytes.
var nothingType = arrayType{byteType, 0}

// fits reports whether a variable of size bytes can have the type c, which has as many
// bytes as typeSize says.
func fits(c btf.Type, typeSize, size uint64) error {
	// A flexible array that has elements makes a variable longer than its type.
	if typeSize == size || typeSize < size && open(c) {
		return nil
	}
	return fail(c, fmt.Sprintf("has %d bytes, and the variable has %d", typeSize, size))
}

// open reports whether a type ends in an array without a length.
func open(t btf.Type) bool {
	for range maxDepth {
		switch c := ctype.Underlying(t).(type) {
		case *btf.Array:
			if c.Nelems == 0 {
				return true
			}
			return false
		case *btf.Struct:
			if len(c.Members) == 0 {
				return false
			}
			t = c.Members[len(c.Members)-1].Type
		case *btf.Union:
			return slices.ContainsFunc(c.Members, func(m btf.Member) bool {
				a, ok := ctype.Underlying(m.Type).(*btf.Array)
				return ok && a.Nelems == 0
			})
		default:
			return false
		}
	}
	return false
}

// number returns the integer or bool that a type is.
func number(t Type) (basicType, bool) {
	switch t := t.(type) {
	case basicType:
		return t, t != pointerType && t.size <= 8
	case *enumType:
		return t.under, true
	case *scalarType:
		_, float := floats[uint32(t.under.size)]
		return t.under, !float || t.under != floats[uint32(t.under.size)]
	}
	return basicType{}, false
}

// place turns the slots, which are in order, into fields.
func (l *layout) place() {
	unions, runs := 0, 0
	for i := 0; i < len(l.slots); i++ {
		s := &l.slots[i]
		offset := s.start / 8
		if s.union {
			size := (s.end - s.start) / 8
			name, comment := "union"+strconv.Itoa(unions), "an anonymous union"
			if len(l.slots) == 1 && offset == 0 && size > 0 {
				comment = "all members of the union"
			}
			if size > 0 {
				l.addBytes(name, comment, offset, size)
				unions++
			}
			l.addMethods(s.members, name, offset)
			continue
		}
		m := &s.members[0]
		switch m.kind {
		case plain:
			l.pad(offset)
			l.align = max(l.align, m.goType.align())
			l.add(field{m.goName, m.inC() + m.note, offset, m.goType})
		case byValue:
			name := "raw" + m.goName
			l.addBytes(name, m.inC()+m.note+", see method "+m.goName, offset, m.goType.Size())
			l.addMethods(s.members, name, offset)
		case bitField:
			// Bit-fields that share a byte, or follow each other, share their bytes.
			members := slices.Clone(s.members)
			end := (s.end + 7) / 8
			for i+1 < len(l.slots) {
				next := &l.slots[i+1]
				if next.union || next.members[0].kind != bitField || next.start/8 > end {
					break
				}
				end = max(end, (next.end+7)/8)
				members = append(members, next.members...)
				i++
			}
			name := "bits" + strconv.Itoa(runs)
			l.addBytes(name, "bit-fields", offset, end-offset)
			l.addMethods(members, name, offset)
			runs++
		default:
			l.addMethods(s.members, "", offset)
		}
	}
}

func (l *layout) addBytes(name, comment string, offset, size uint64) {
	l.pad(offset)
	l.add(field{name, comment, offset, arrayType{byteType, uint32(size)}})
}

func (l *layout) add(f field) {
	l.t.fields = append(l.t.fields, f)
	l.end = f.offset + f.typ.Size()
}

// pad fills the gap up to offset.
func (l *layout) pad(offset uint64) {
	if n := offset - l.end; n > 0 {
		l.t.fields = append(l.t.fields, field{offset: l.end, typ: arrayType{byteType, uint32(n)}})
		l.end = offset
	}
}

// addMethods adds the methods of members whose bytes are in the field called
// storage, which is at offset.
func (l *layout) addMethods(members []member, storage string, offset uint64) {
	for _, m := range members {
		if m.kind == nothing {
			continue
		}
		a := method{
			kind:      m.kind,
			name:      m.goName,
			c:         m.inC(),
			typ:       m.goType,
			storage:   storage,
			start:     m.start - offset*8,
			bits:      m.bits,
			offset:    m.start / 8,
			bigEndian: l.d.BigEndian,
		}
		switch m.kind {
		case byAddress:
			a.name = l.methodName("As", &m)
		case byValue, bitField:
			a.setter = l.methodName("Set", &m)
		}
		if m.kind != flexible && !m.variable {
			a.with = l.methodName("With", &m)
		}
		l.t.methods = append(l.t.methods, a)
	}
}
