package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"
)

// Decode reads an image. The object refers to the image's memory, which is that of the
// program as a rule: it is not to be written to. All that has an index in it is checked,
// so that who uses the object need not.
//
// It fails for an image of another byte order than the machine's, for one that is newer
// than this reader, and with [ErrDamaged].
func Decode(image string) (*Object, error) {
	d := decoder{data: unsafe.Slice(unsafe.StringData(image), len(image))}
	if err := d.header(); err != nil {
		return nil, err
	}
	if err := d.findParts(); err != nil {
		return nil, err
	}
	o := new(Object)
	if err := d.object(o); err != nil {
		return nil, err
	}
	if err := check(o); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrDamaged, err)
	}
	return o, nil
}

// Is reports whether data begins as images do.
func Is(data []byte) bool { return len(data) >= len(magic) && string(data[:len(magic)]) == magic }

// decoder reads an image.
type decoder struct {
	data  []byte
	parts [numParts][]byte
	coder
}

func (d *decoder) u32(at int) uint32 { return binary.NativeEndian.Uint32(d.data[at:]) }

func (d *decoder) header() error {
	if len(d.data) < headerSize || string(d.data[:len(magic)]) != magic {
		return ErrDamaged
	}
	switch d.data[orderAt] {
	case orderByte(binary.NativeEndian):
	case littleEndian, bigEndian:
		return errors.New("the BPF object in the generated code is for the other byte order: compile it for the target platform")
	default:
		return ErrDamaged
	}
	if v := binary.NativeEndian.Uint16(d.data[versionAt:]); v != Version {
		return fmt.Errorf("the BPF object in the generated code has version %d of its format, and this runtime reads version %d: generate the code with the bpfgen of this version of rules_bpf", v, Version)
	}
	if n := uint64(d.u32(countAt)); n > uint64(len(d.data)-headerSize)/partSize || uint64(d.u32(lengthAt)) != uint64(len(d.data)) {
		return ErrDamaged
	}
	if d.u32(checksumAt) != headerChecksum(d.data, int(d.u32(countAt))) {
		return ErrDamaged
	}
	return nil
}

// findParts finds the parts that the table in the header has.
func (d *decoder) findParts() error {
	count := int(d.u32(countAt))
	last := uint32(0)
	for at := headerSize; at < headerSize+count*partSize; at += partSize {
		id, flags, offset, length := d.u32(at), d.u32(at+4), d.u32(at+8), d.u32(at+12)
		if id <= last || uint64(offset)+uint64(length) > uint64(len(d.data)) {
			return ErrDamaged
		}
		last = id
		if id >= uint32(numParts) && flags&optional != 0 {
			continue
		}
		if id >= uint32(numParts) || flags&^knownFlags != 0 {
			return fmt.Errorf("the BPF object in the generated code has part %d, which this runtime does not know: update the runtime to the version of the bpfgen that generated the code", id)
		}
		data := d.data[offset : uint64(offset)+uint64(length)]
		if checksum(data) != d.u32(at+20) {
			return ErrDamaged
		}
		size := d.u32(at + 16)
		switch {
		case flags&coded == 0:
			if size != length {
				return ErrDamaged
			}
		case size > maxImage || isTable(partID(id)):
			return ErrDamaged
		default:
			var ok bool
			if data, ok = decodeZeros(data, int(size)); !ok {
				return ErrDamaged
			}
		}
		d.parts[id] = data
	}
	return nil
}

func (d *decoder) object(o *Object) error {
	d.strings, d.coder.data = d.parts[stringsPart], d.parts[dataPart]
	if len(d.parts[objectPart]) != objectSize {
		return ErrDamaged
	}
	d.buf = d.parts[objectPart]
	o.fields(&d.coder)
	d.funcs = take(d, opsFuncsPart, opsFuncSize, (*OpsFunc).fields)
	d.jumps = take(d, jumpsPart, jumpSize, jumpFields)
	o.Functions = take(d, functionsPart, functionSize, (*Function).fields)
	o.Programs = take(d, programsPart, programSize, (*Program).fields)
	o.Maps = take(d, mapsPart, mapSize, (*Map).fields)
	o.Externs = take(d, externsPart, externSize, (*Extern).fields)
	o.Kconfig = take(d, kconfigPart, kconfigSize, (*KconfigVar).fields)
	o.Elements = take(d, elementsPart, elementSize, (*Element).fields)
	o.StructOps = take(d, structOpsPart, structOpsSize, (*StructOps).fields)
	o.Variables = take(d, variablesPart, variableSize, (*Variable).fields)
	o.JumpTables = take(d, jumpTablesPart, jumpTableSize, (*JumpTableContents).fields)
	o.Relocations = tableOf[Relocation](d, relocationsPart)
	o.CORE = tableOf[CORE](d, corePart)
	o.FuncInfo = tableOf[FuncInfo](d, funcInfoPart)
	o.LineInfo = tableOf[LineInfo](d, lineInfoPart)
	o.BTF, o.Code = d.parts[btfPart], d.parts[codePart]
	o.ELF = text(d.parts[elfPart])
	if d.bad {
		return ErrDamaged
	}
	return nil
}

// take reads a table of records of size bytes each.
func take[R any](d *decoder, id partID, size int, fields func(*R, *coder)) []R {
	data := d.parts[id]
	if len(data)%size != 0 {
		d.bad = true
		return nil
	}
	if len(data) == 0 {
		return nil
	}
	all := make([]R, len(data)/size)
	d.buf, d.at = data, 0
	for i := range all {
		fields(&all[i], &d.coder)
	}
	d.bad = d.bad || d.at != len(data)
	return all
}

// tableOf returns a table that stays where it is.
func tableOf[R Record](d *decoder, id partID) Table[R] {
	var r R
	if len(d.parts[id])%int(unsafe.Sizeof(r)) != 0 {
		d.bad = true
		return Table[R]{}
	}
	return Table[R]{text(d.parts[id])}
}

// text returns bytes that do not change any more as a string, without a copy.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
