package objtest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
)

// Mutate returns a copy of an object that is damaged in one to three places, and says
// where. Where a fuzzer that flips bytes is stopped by the first check of a header, the
// damage here is of one field that has a meaning: a type's size or member, a string, a
// symbol, a relocation, a section's header. The same state of r gives the same damage.
func Mutate(r *rand.Rand, object []byte) ([]byte, string) {
	m := &mutator{Rand: r, data: bytes.Clone(object), order: binary.LittleEndian}
	if len(m.data) > elf.EI_DATA && m.data[elf.EI_DATA] == byte(elf.ELFDATA2MSB) {
		m.order = binary.BigEndian
	}
	for range 1 + r.IntN(3) {
		m.mutate()
	}
	return m.data, strings.Join(m.done, "; ")
}

// Sizes of ELF's records.
const (
	fileHeaderSize    = 64
	sectionHeaderSize = 64
	symbolSize        = 24
)

// hostile are texts that would do harm in Go source, in C, or on a terminal if they
// were copied as they are.
var hostile = []string{
	"\n", "\r", "\t", "\x01", "\xff", "`", "\"", "'", "\\", "*/", "//", "}{", ";", "%s", "-", ".", "_", "0", "X", "é",
	"\u2028", "\u202e", "init", "main", "func", "go:linkname", "//go:embed x", "\n//go:generate",
}

type mutator struct {
	*rand.Rand
	data  []byte
	order binary.ByteOrder
	done  []string
}

func (m *mutator) note(format string, args ...any) {
	m.done = append(m.done, fmt.Sprintf(format, args...))
}

// part is a piece of the data, nil when it does not lie within.
func part(data []byte, offset, size uint64) []byte {
	if offset > uint64(len(data)) || size > uint64(len(data))-offset {
		return nil
	}
	return data[offset : offset+size]
}

// value is one that bounds are wrong at, or else one of up to about n.
func (m *mutator) value(n int) uint64 {
	edges := []uint64{0, 1<<29 - 1, 1 << 29, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 63, 1<<64 - 1, 1 << m.IntN(64), uint64(m.IntN(70000))}
	if m.IntN(2) == 0 {
		return edges[m.IntN(len(edges))]
	}
	return uint64(m.IntN(max(n, 0) + 2))
}

// put32 and put64 write a field of a record, if it lies in the data.
func (m *mutator) put32(record []byte, offset int, v uint64, format string, args ...any) {
	if offset+4 <= len(record) {
		m.order.PutUint32(record[offset:], uint32(v))
		m.note("%s = %#x", fmt.Sprintf(format, args...), uint32(v))
	}
}

func (m *mutator) put64(record []byte, offset int, v uint64, format string, args ...any) {
	if offset+8 <= len(record) {
		m.order.PutUint64(record[offset:], v)
		m.note("%s = %#x", fmt.Sprintf(format, args...), v)
	}
}

// headers are the sections' headers, those that lie in the data.
func (m *mutator) headers() [][]byte {
	header := part(m.data, 0, fileHeaderSize)
	if header == nil {
		return nil
	}
	var headers [][]byte
	for i := range uint64(m.order.Uint16(header[60:])) {
		if h := part(m.data, m.order.Uint64(header[40:])+i*sectionHeaderSize, sectionHeaderSize); h != nil {
			headers = append(headers, h)
		}
	}
	return headers
}

func (m *mutator) contents(header []byte) []byte {
	return part(m.data, m.order.Uint64(header[24:]), m.order.Uint64(header[32:]))
}

func (m *mutator) name(header []byte) string {
	headers := m.headers()
	index := int(m.order.Uint16(m.data[62:]))
	if index >= len(headers) {
		return ""
	}
	names := m.contents(headers[index])
	offset := m.order.Uint32(header)
	if uint64(offset) >= uint64(len(names)) {
		return ""
	}
	name, _, _ := bytes.Cut(names[offset:], []byte{0})
	return string(name)
}

// section returns one of the sections that pick chooses: its name and its contents.
func (m *mutator) section(pick func(name string, typ elf.SectionType) bool) (string, []byte) {
	var headers [][]byte
	for _, h := range m.headers() {
		if pick(m.name(h), elf.SectionType(m.order.Uint32(h[4:]))) {
			headers = append(headers, h)
		}
	}
	if len(headers) == 0 {
		return "", nil
	}
	h := headers[m.IntN(len(headers))]
	return m.name(h), m.contents(h)
}

func (m *mutator) mutate() {
	switch m.IntN(14) {
	case 0, 1, 2, 3, 4, 5:
		m.btf()
	case 6, 7:
		m.header()
	case 8, 9:
		m.symbol()
	case 10:
		m.text(m.section(func(name string, typ elf.SectionType) bool { return typ == elf.SHT_STRTAB }))
	case 11:
		m.word(m.section(func(name string, typ elf.SectionType) bool { return typ == elf.SHT_REL }))
	case 12:
		m.word(m.section(func(name string, typ elf.SectionType) bool { return name == ".BTF.ext" }))
	case 13:
		m.word(m.section(func(name string, typ elf.SectionType) bool { return typ == elf.SHT_PROGBITS && name != ".BTF" }))
	}
}

// text overwrites a part of a table of strings.
func (m *mutator) text(name string, table []byte) {
	if len(table) < 2 {
		return
	}
	i := 1 + m.IntN(len(table)-1)
	text := hostile[m.IntN(len(hostile))]
	copy(table[i:], text)
	m.note("%s+%d = %q", name, i, text)
}

func (m *mutator) word(name string, contents []byte) {
	if len(contents) < 8 {
		return
	}
	i := m.IntN(len(contents)/4-1) * 4
	if m.IntN(2) == 0 {
		m.put32(contents, i, m.value(4096), "%s+%d", name, i)
	} else {
		m.put64(contents, i, m.value(4096), "%s+%d", name, i)
	}
}

// header damages the header of a section.
func (m *mutator) header() {
	headers := m.headers()
	if len(headers) == 0 {
		return
	}
	i := m.IntN(len(headers))
	h, other := headers[i], headers[m.IntN(len(headers))]
	switch m.IntN(10) {
	case 0:
		m.put32(h, 0, uint64(m.order.Uint32(other))+uint64(m.IntN(3)), "section %d: name", i)
	case 1:
		m.put32(h, 4, uint64(m.IntN(20)), "section %d: type", i)
	case 2:
		flag := elf.SectionFlag(1) << m.IntN(13)
		m.put64(h, 8, m.order.Uint64(h[8:])^uint64(flag), "section %d: flags", i)
		// With a header that claims a size.
		if c := m.contents(h); flag == elf.SHF_COMPRESSED && len(c) >= 24 {
			m.put32(c, 0, uint64(1+m.IntN(2)), "section %d: compression", i)
			m.put64(c, 8, m.value(1<<30), "section %d: uncompressed size", i)
		}
	case 3:
		m.put64(h, 24, m.order.Uint64(other[24:]), "section %d: offset", i)
	case 4:
		m.put64(h, 24, m.value(len(m.data)), "section %d: offset", i)
	case 5:
		m.put64(h, 32, m.order.Uint64(h[32:])+uint64(m.IntN(17))-8, "section %d: size", i)
	case 6:
		m.put64(h, 32, m.value(len(m.data)), "section %d: size", i)
	case 7:
		m.put32(h, 40+4*m.IntN(2), m.value(len(headers)), "section %d: link or info", i)
	case 8:
		m.put64(h, 48, m.value(64), "section %d: alignment", i)
	case 9:
		m.put64(h, 56, m.value(64), "section %d: size of entries", i)
	}
}

func (m *mutator) symbol() {
	_, table := m.section(func(_ string, typ elf.SectionType) bool { return typ == elf.SHT_SYMTAB })
	n := len(table) / symbolSize
	if n == 0 {
		return
	}
	i := m.IntN(n)
	symbol := table[symbolSize*i:]
	switch m.IntN(6) {
	case 0:
		m.put32(symbol, 0, uint64(m.order.Uint32(table[symbolSize*m.IntN(n):])), "symbol %d: name", i)
	case 1:
		symbol[4] = byte(m.IntN(256))
		m.note("symbol %d: info = %#x", i, symbol[4])
	case 2:
		symbol[5] = byte(m.IntN(256))
		m.note("symbol %d: other = %#x", i, symbol[5])
	case 3:
		sections := []elf.SectionIndex{elf.SHN_UNDEF, elf.SHN_ABS, elf.SHN_COMMON, elf.SHN_XINDEX, elf.SHN_LORESERVE, elf.SectionIndex(m.IntN(len(m.headers()) + 2))}
		section := sections[m.IntN(len(sections))]
		m.order.PutUint16(symbol[6:], uint16(section))
		m.note("symbol %d: section = %v", i, section)
	case 4:
		m.put64(symbol, 8, m.value(4096), "symbol %d: value", i)
	case 5:
		m.put64(symbol, 16, m.value(4096), "symbol %d: size", i)
	}
}

// btf damages the header, a string or a type.
func (m *mutator) btf() {
	_, data := m.section(func(name string, _ elf.SectionType) bool { return name == ".BTF" })
	header := part(data, 0, 24)
	if header == nil {
		return
	}
	field := func(offset int) uint64 { return uint64(m.order.Uint32(header[offset:])) }
	strings := part(data, field(4)+field(16), field(20))
	switch m.IntN(12) {
	case 0:
		i := m.IntN(6) * 4
		m.put32(header, i, m.value(len(data)), "header of BTF+%d", i)
		return
	case 1, 2, 3:
		m.text("strings of BTF", strings)
		return
	}
	types, err := rawbtf.New(data, nil)
	if err != nil || types.Len() == 1 {
		return
	}
	n := int(types.Len()) - 1
	typ, other := types.At(uint32(1+m.IntN(n))), types.At(uint32(1+m.IntN(n))).Raw()
	// Raw is memory of the data.
	record := typ.Raw()
	what := fmt.Sprintf("type %d of kind %d", typ.ID, typ.Kind())
	switch m.IntN(8) {
	case 0:
		name := uint64(m.order.Uint32(other))
		if m.IntN(3) == 0 {
			name = m.value(len(strings))
		}
		m.put32(record, 0, name, "%s: name", what)
	case 1:
		info := uint64(m.order.Uint32(record[4:]))
		switch m.IntN(3) {
		case 0:
			info ^= 1 << 31
		case 1:
			info = info&^(0x1f<<24) | uint64(m.IntN(21))<<24
		case 2:
			info = info&^0xffff | m.value(int(info&0xffff))&0xffff
		}
		m.put32(record, 4, info, "%s: info", what)
	case 2, 3:
		m.put32(record, 8, m.value(n), "%s: size or type", what)
	default:
		if len(record) == 12 {
			return
		}
		v := m.value(n)
		if m.IntN(4) == 0 {
			v = uint64(m.order.Uint32(other))
		}
		offset := 12 + m.IntN((len(record)-12)/4)*4
		m.put32(record, offset, v, "%s+%d", what, offset)
	}
}
