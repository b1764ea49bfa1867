package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
)

// Encode returns the image of an object whose byte order is order, in which BTF and Code
// are already. The same object gives the same image. It fails for an object that [Decode]
// would not take.
func Encode(o *Object, order binary.ByteOrder) ([]byte, error) {
	if err := check(o); err != nil {
		return nil, err
	}
	e := encoder{coder: coder{order: order, write: true, interned: make(map[string]uint32)}}
	o = withoutZeros(o)
	records(&e, objectPart, []Object{*o}, (*Object).fields)
	records(&e, functionsPart, o.Functions, (*Function).fields)
	records(&e, programsPart, o.Programs, (*Program).fields)
	records(&e, mapsPart, o.Maps, (*Map).fields)
	records(&e, externsPart, o.Externs, (*Extern).fields)
	records(&e, kconfigPart, o.Kconfig, (*KconfigVar).fields)
	records(&e, elementsPart, o.Elements, (*Element).fields)
	records(&e, structOpsPart, o.StructOps, (*StructOps).fields)
	records(&e, opsFuncsPart, e.funcs, (*OpsFunc).fields)
	records(&e, variablesPart, o.Variables, (*Variable).fields)
	records(&e, jumpTablesPart, o.JumpTables, (*JumpTableContents).fields)
	records(&e, jumpsPart, e.jumps, jumpFields)
	e.table(relocationsPart, o.Relocations.raw)
	e.table(corePart, o.CORE.raw)
	e.table(funcInfoPart, o.FuncInfo.raw)
	e.table(lineInfoPart, o.LineInfo.raw)
	e.part(btfPart, 0, o.BTF)
	e.part(codePart, 0, o.Code)
	e.part(stringsPart, 0, e.strings)
	e.part(dataPart, 0, e.data)
	e.part(elfPart, optional, []byte(o.ELF))
	return e.image()
}

// withoutZeros returns the object with nil for contents that are all zero.
func withoutZeros(o *Object) *Object {
	c := *o
	c.Maps = slices.Clone(o.Maps)
	for i := range c.Maps {
		if m := &c.Maps[i]; leadingZeros(m.Contents) == len(m.Contents) {
			m.Contents = nil
		}
	}
	if leadingZeros(c.Arena.Contents) == len(c.Arena.Contents) {
		c.Arena.Contents = nil
	}
	return &c
}

// encoder makes an image.
type encoder struct {
	coder
	parts []encodedPart
}

type encodedPart struct {
	id    partID
	flags uint32
	data  []byte
	size  int
}

// records adds a table of records, which fields writes.
func records[R any](e *encoder, id partID, all []R, fields func(*R, *coder)) {
	e.buf = nil
	for i := range all {
		// Fields are written and read by the same functions, of which those that read
		// change the record.
		r := all[i]
		fields(&r, &e.coder)
	}
	e.part(id, 0, e.buf)
}

// table adds a table of records in this machine's byte order.
func (e *encoder) table(id partID, raw string) {
	e.buf = nil
	for i := 0; i < len(raw); i += 4 {
		e.append(binary.NativeEndian.Uint32([]byte(raw[i : i+4])))
	}
	e.part(id, 0, e.buf)
}

// part adds a part, unless it is empty.
func (e *encoder) part(id partID, flags uint32, data []byte) {
	if len(data) == 0 {
		return
	}
	p := encodedPart{id, flags, data, len(data)}
	if zeros, ok := codeZeros(data); ok && !isTable(id) {
		p.flags |= coded
		p.data = zeros
	}
	e.parts = append(e.parts, p)
}

// isTable reports whether a part is read record by record where it is.
func isTable(id partID) bool { return id >= relocationsPart && id <= lineInfoPart }

// image puts the parts together.
func (e *encoder) image() ([]byte, error) {
	slices.SortFunc(e.parts, func(a, b encodedPart) int { return int(a.id) - int(b.id) })
	total := headerSize + partSize*len(e.parts)
	for _, p := range e.parts {
		if total += len(p.data); total > maxImage || p.size > maxImage {
			return nil, errors.New("the object has more than 2 GB: leave large tables to maps")
		}
	}
	head := append([]byte(magic), make([]byte, headerSize-len(magic))...)
	e.order.PutUint16(head[versionAt:], Version)
	head[orderAt] = orderByte(e.order)
	e.order.PutUint32(head[countAt:], uint32(len(e.parts)))
	e.order.PutUint32(head[lengthAt:], uint32(total))

	e.buf = head
	at := headerSize + partSize*len(e.parts)
	for _, p := range e.parts {
		for _, v := range []uint32{uint32(p.id), p.flags, uint32(at), uint32(len(p.data)), uint32(p.size), checksum(p.data)} {
			e.append(v)
		}
		at += len(p.data)
	}
	e.order.PutUint32(e.buf[checksumAt:], headerChecksum(e.buf, len(e.parts)))
	image := bytes.Clone(e.buf)
	for _, p := range e.parts {
		image = append(image, p.data...)
	}
	return image, nil
}
