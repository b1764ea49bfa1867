package gotype

import "fmt"

// method is how a member that is no field is reached.
type method struct {
	kind kind
	// name, setter and with are the methods' names. with is empty for a variable of a
	// section, which is memory that is not copied.
	name, setter, with string
	c                  string
	typ                Type
	// storage is the field with the member's bytes; start is where the member
	// starts in it, in bits.
	storage string
	start   uint64
	// bits is the width of a bit-field.
	bits uint64
	// offset is the member's, from the start of the struct.
	offset    uint64
	bigEndian bool
}

// append appends the methods of the struct called recv.
func (m *method) append(b []byte, recv string) []byte {
	switch m.kind {
	case byAddress:
		return m.appendWith(m.appendAddress(b, recv), recv, fmt.Sprintf("*s.%s() = v", m.name))
	case byValue:
		return m.appendWith(m.appendValue(b, recv), recv, fmt.Sprintf("s.%s(v)", m.setter))
	case bitField:
		return m.appendWith(m.appendBits(b, recv), recv, fmt.Sprintf("s.%s(v)", m.setter))
	case flexible:
		return m.appendSlice(b, recv)
	}
	return b
}

// appendWith appends the method that returns a copy in which the member is set, by the
// statement set.
func (m *method) appendWith(b []byte, recv, set string) []byte {
	if m.with == "" {
		return b
	}
	return fmt.Appendf(b, `
// %[1]s returns a copy of s with another %[2]s.
func (s %[3]s) %[1]s(v %[4]s) %[3]s {
	%[5]s
	return s
}
`, m.with, m.c, recv, m.typ, set)
}

func (m *method) appendAddress(b []byte, recv string) []byte {
	return fmt.Appendf(b, `
// %[1]s returns the address of %[2]s, a member of a union.
func (s *%[3]s) %[1]s() *%[4]s {
	return (*%[4]s)(unsafe.Pointer(&s.%[5]s[%[6]d]))
}
`, m.name, m.c, recv, m.typ, m.storage, m.start/8)
}

func (m *method) appendValue(b []byte, recv string) []byte {
	first, size := m.start/8, m.typ.Size()
	return fmt.Appendf(b, `
// %[1]s returns %[2]s, which is not aligned as Go needs it.
func (s *%[3]s) %[1]s() (v %[4]s) {
	*(*[%[6]d]byte)(unsafe.Pointer(&v)) = [%[6]d]byte(s.%[5]s[%[7]d:%[8]d])
	return v
}

// %[9]s sets %[2]s.
func (s *%[3]s) %[9]s(v %[4]s) {
	*(*[%[6]d]byte)(s.%[5]s[%[7]d:%[8]d]) = *(*[%[6]d]byte)(unsafe.Pointer(&v))
}
`, m.name, m.c, recv, m.typ, m.storage, size, first, first+size, m.setter)
}

func (m *method) appendSlice(b []byte, recv string) []byte {
	return fmt.Appendf(b, `
// %[1]s returns %[2]s, an array whose length BTF does not know. Its n elements
// must be in the memory that follows the struct: a copy of the struct is
// without them.
func (s *%[3]s) %[1]s(n int) []%[4]s {
	return unsafe.Slice((*%[4]s)(unsafe.Add(unsafe.Pointer(s), %[5]d)), n)
}
`, m.name, m.c, recv, m.typ, m.offset)
}

// piece is the part of a bit-field that is in one byte: bits of the byte from
// shift on, which are bits of the number from at on.
type piece struct {
	index     uint64
	shift, at uint64
	mask      uint64
}

// pieces takes a bit-field apart. The first of its bits is the lowest of its
// number on a little-endian machine, and the lowest bits of a byte come first; on a
// big-endian machine it is the highest, and the highest come first.
func (m *method) pieces() []piece {
	var pieces []piece
	for done := uint64(0); done < m.bits; {
		index, first := (m.start+done)/8, (m.start+done)%8
		n := min(8-first, m.bits-done)
		p := piece{index: index, shift: first, at: done, mask: 1<<n - 1}
		if m.bigEndian {
			p.shift = 8 - first - n
			p.at = m.bits - done - n
		}
		pieces = append(pieces, p)
		done += n
	}
	return pieces
}

func (m *method) appendBits(b []byte, recv string) []byte {
	width := "bits"
	if m.bits == 1 {
		width = "bit"
	}
	b = fmt.Appendf(b, "\n// %[1]s returns %[2]s, a bit-field of %[3]d %[4]s.\nfunc (s *%[5]s) %[1]s() %[6]s {\n\tu := ",
		m.name, m.c, m.bits, width, recv, m.typ)
	pieces := m.pieces()
	for i, p := range pieces {
		if i > 0 {
			b = append(b, " | "...)
		}
		b = fmt.Appendf(b, "uint64(s.%s[%d]%s", m.storage, p.index, shift(">>", p.shift))
		if p.mask != 0xff {
			b = fmt.Appendf(b, "&%#x", p.mask)
		}
		b = fmt.Appendf(b, ")%s", shift("<<", p.at))
	}
	basic, _ := number(m.typ)
	switch {
	case basic == boolType:
		b = append(b, "\n\treturn u != 0\n}\n"...)
	case basic.signed() && m.bits < 64:
		b = fmt.Appendf(b, "\n\treturn %s(int64(u<<%[2]d) >> %[2]d)\n}\n", m.typ, 64-m.bits)
	default:
		b = fmt.Appendf(b, "\n\treturn %s(u)\n}\n", m.typ)
	}
	b = fmt.Appendf(b, `
// %[1]s sets %[2]s to the lowest %[3]d %[4]s of v. It is not atomic: the bytes are
// read and written back, with what else they hold.
func (s *%[5]s) %[1]s(v %[6]s) {
`, m.setter, m.c, m.bits, width, recv, m.typ)
	if basic == boolType {
		b = append(b, "\tvar u uint64\n\tif v {\n\t\tu = 1\n\t}\n"...)
	} else {
		b = append(b, "\tu := uint64(v)\n"...)
	}
	for _, p := range pieces {
		if p.mask == 0xff {
			b = fmt.Appendf(b, "\ts.%s[%d] = byte(u%s)\n", m.storage, p.index, shift(">>", p.at))
			continue
		}
		b = fmt.Appendf(b, "\ts.%[1]s[%[2]d] = s.%[1]s[%[2]d]&^%#[3]x | byte(u%[4]s&%#[5]x)%[6]s\n",
			m.storage, p.index, p.mask<<p.shift, shift(">>", p.at), p.mask, shift("<<", p.shift))
	}
	return append(b, "}\n"...)
}

// shift returns the operator and its operand, and nothing for a shift by 0.
func shift(op string, by uint64) string {
	if by == 0 {
		return ""
	}
	return fmt.Sprint(op, by)
}
