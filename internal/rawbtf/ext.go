package rawbtf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Ext is the contents of section .BTF.ext: what is known of single instructions.
// Each kind of record is by section of code, in the order of the file. Names of
// sections are offsets of strings in .BTF.
type Ext struct {
	Funcs []ExtSection[FuncInfo]
	Lines []ExtSection[LineInfo]
	Relos []ExtSection[CoreRelo]
}

// ExtSection are the records of a section.
type ExtSection[T any] struct {
	Name    uint32
	Records []T
}

// FuncInfo is the function that starts at an instruction.
type FuncInfo struct {
	// Offset is that of the instruction in its section, in bytes.
	Offset uint32
	Type   uint32
}

// LineInfo is the source line of an instruction.
type LineInfo struct {
	// Offset is that of the instruction in its section, in bytes.
	Offset uint32
	// File and Text are the offsets of strings: the file's name and the line's text.
	File, Text uint32
	// Column has the line in its upper 22 bits and the column in the others.
	Column uint32
}

// Line returns the number of the line.
func (l LineInfo) Line() uint32 { return l.Column >> 10 }

// CoreRelo is the dependency of an instruction on a type of the kernel.
type CoreRelo struct {
	// Offset is that of the instruction in its section, in bytes.
	Offset uint32
	// Type is a type in .BTF, Access the offset of the string that says what of it,
	// Kind the kernel's number for what about it.
	Type, Access, Kind uint32
}

const (
	extHeaderSize = 24 // without CO-RE relocations
	extHeaderCore = 32
)

// ParseExt reads the contents of a section .BTF.ext. It does not panic, whatever
// data is.
func ParseExt(data []byte, order binary.ByteOrder) (*Ext, error) {
	// struct btf_ext_header: magic, version, flags, hdr_len, then offset and length
	// of the func, line and (in newer files) CO-RE parts, from the end of the header.
	if len(data) < extHeaderSize || order.Uint16(data) != magic {
		return nil, ErrDamaged
	}
	length := uint64(order.Uint32(data[4:]))
	if length < extHeaderSize || length > uint64(len(data)) {
		return nil, ErrDamaged
	}
	part := func(at int) ([]byte, error) {
		if uint64(at)+8 > length {
			return nil, nil
		}
		off, n := uint64(order.Uint32(data[at:])), uint64(order.Uint32(data[at+4:]))
		if body := data[length:]; off <= uint64(len(body)) && n <= uint64(len(body))-off {
			return body[off : off+n], nil
		}
		return nil, ErrDamaged
	}
	e := new(Ext)
	var parts [3][]byte
	for i := range parts {
		var err error
		if parts[i], err = part(8 + 8*i); err != nil {
			return nil, err
		}
	}
	var errs [3]error
	e.Funcs, errs[0] = parseRecords(parts[0], order, 2, func(w []uint32) FuncInfo { return FuncInfo{w[0], w[1]} })
	e.Lines, errs[1] = parseRecords(parts[1], order, 4, func(w []uint32) LineInfo { return LineInfo{w[0], w[1], w[2], w[3]} })
	e.Relos, errs[2] = parseRecords(parts[2], order, 4, func(w []uint32) CoreRelo { return CoreRelo{w[0], w[1], w[2], w[3]} })
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return e, nil
}

// parseRecords reads a part: the size of a record, then per section its name, the
// number of records and these, of as many words each.
func parseRecords[T any](data []byte, order binary.ByteOrder, words int, record func([]uint32) T) ([]ExtSection[T], error) {
	if len(data) == 0 {
		return nil, nil
	}
	if len(data) < 4 {
		return nil, ErrDamaged
	}
	if size := order.Uint32(data); size != uint32(4*words) {
		return nil, fmt.Errorf("has records of %d bytes, want %d: the compiler is newer than this program: compile with an older clang", size, 4*words)
	}
	var all []ExtSection[T]
	buf := make([]uint32, words)
	for data = data[4:]; len(data) > 0; {
		if len(data) < 8 {
			return nil, ErrDamaged
		}
		sec := ExtSection[T]{Name: order.Uint32(data)}
		n := uint64(order.Uint32(data[4:]))
		data = data[8:]
		if n > uint64(len(data)/(4*words)) {
			return nil, ErrDamaged
		}
		sec.Records = make([]T, 0, n)
		for range n {
			for i := range buf {
				buf[i] = order.Uint32(data[4*i:])
			}
			sec.Records = append(sec.Records, record(buf))
			data = data[4*words:]
		}
		all = append(all, sec)
	}
	return all, nil
}

// Bytes returns the contents of the section.
func (e *Ext) Bytes(order binary.ByteOrder) ([]byte, error) {
	funcs := appendRecords(order, 2, e.Funcs, func(r FuncInfo) []uint32 { return []uint32{r.Offset, r.Type} })
	lines := appendRecords(order, 4, e.Lines, func(r LineInfo) []uint32 { return []uint32{r.Offset, r.File, r.Text, r.Column} })
	relos := appendRecords(order, 4, e.Relos, func(r CoreRelo) []uint32 { return []uint32{r.Offset, r.Type, r.Access, r.Kind} })
	if len(funcs)+len(lines)+len(relos) > 1<<31-1 {
		return nil, errors.New("has more than 2 GB of records")
	}
	out := header(order)
	out = append32(order, out, extHeaderCore)
	off := 0
	for _, part := range [][]byte{funcs, lines, relos} {
		out = append32(order, out, uint32(off))
		out = append32(order, out, uint32(len(part)))
		off += len(part)
	}
	return slices.Concat(out, funcs, lines, relos), nil
}

func appendRecords[T any](order binary.ByteOrder, words int, all []ExtSection[T], fields func(T) []uint32) []byte {
	var out []byte
	for _, sec := range all {
		if len(sec.Records) == 0 {
			continue
		}
		if out == nil {
			out = append32(order, out, uint32(4*words))
		}
		out = append32(order, out, sec.Name)
		out = append32(order, out, uint32(len(sec.Records)))
		for _, r := range sec.Records {
			for _, w := range fields(r) {
				out = append32(order, out, w)
			}
		}
	}
	return out
}
