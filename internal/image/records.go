package image

import "encoding/binary"

// coder writes records or reads them: the fields function of a record lists its fields
// once, for both directions.
type coder struct {
	order binary.ByteOrder
	// write reports whether fields are appended to buf; otherwise they are read from it, at at.
	write bool
	buf   []byte
	at    int
	// bad is true when something read is not in the image.
	bad bool

	// strings and data are what records refer to by offset and length.
	strings []byte
	data    []byte
	// interned has the offsets of the strings that are written.
	interned map[string]uint32
	// funcs and jumps are the tables that StructOps and JumpTables have parts of.
	funcs []OpsFunc
	jumps []uint32
}

// number writes or reads a number.
func number[T ~uint32](c *coder, p *T) {
	if c.write {
		c.append(uint32(*p))
		return
	}
	if len(c.buf)-c.at < 4 {
		c.bad = true
		return
	}
	*p = T(binary.NativeEndian.Uint32(c.buf[c.at:]))
	c.at += 4
}

func (c *coder) append(v uint32) {
	var b [4]byte
	c.order.PutUint32(b[:], v)
	c.buf = append(c.buf, b[:]...)
}

func (c *coder) long(p *uint64) {
	low, high := uint32(*p), uint32(*p>>32)
	number(c, &low)
	number(c, &high)
	*p = uint64(high)<<32 | uint64(low)
}

// flags writes or reads up to 32 of them as one number.
func (c *coder) flags(flags ...*bool) {
	word := uint32(0)
	for i, f := range flags {
		if *f {
			word |= 1 << i
		}
	}
	number(c, &word)
	for i, f := range flags {
		*f = word>>i&1 != 0
	}
	c.bad = c.bad || word>>len(flags) != 0
}

// text writes or reads a string, as offset and length.
func (c *coder) text(p *string) {
	var at uint32
	n := uint32(len(*p))
	if c.write {
		var ok bool
		if at, ok = c.interned[*p]; !ok {
			at = uint32(len(c.strings))
			c.interned[*p] = at
			c.strings = append(c.strings, *p...)
		}
	}
	number(c, &at)
	number(c, &n)
	if !c.write {
		*p = text(part(c, c.strings, at, n))
	}
}

// bytes writes or reads contents, nil as those of length 0.
func (c *coder) bytes(p *[]byte) { list(c, p, &c.data) }

// list writes or reads a list that is a part of a table for all such lists.
func list[T any](c *coder, p, all *[]T) {
	at, n := uint32(len(*all)), uint32(len(*p))
	if c.write {
		if n == 0 {
			at = 0
		}
		*all = append(*all, *p...)
	}
	number(c, &at)
	number(c, &n)
	if !c.write {
		*p = part(c, *all, at, n)
	}
}

// part returns n elements of a table, nil for none.
func part[T any](c *coder, all []T, at, n uint32) []T {
	if uint64(at)+uint64(n) > uint64(len(all)) {
		c.bad = true
		return nil
	}
	if n == 0 {
		return nil
	}
	return all[at : at+n : at+n]
}

// What records take, in bytes.
const (
	objectSize    = 40
	functionSize  = 28
	programSize   = 20
	mapSize       = 72
	externSize    = 20
	kconfigSize   = 24
	elementSize   = 16
	structOpsSize = 36
	opsFuncSize   = 8
	variableSize  = 28
	jumpTableSize = 12
	jumpSize      = 4
)

func (o *Object) fields(c *coder) {
	c.text(&o.Name)
	c.text(&o.License)
	number(c, &o.KernelVersion)
	number(c, &o.Arena.Map)
	number(c, &o.Arena.Size)
	number(c, &o.Arena.DataSection)
	c.bytes(&o.Arena.Contents)
}

func (f *Function) fields(c *coder) {
	c.text(&f.Name)
	number(c, &f.First)
	number(c, &f.Count)
	number(c, &f.Type)
	number(c, &f.ExceptionCallback)
	c.flags(&f.Global)
}

func (p *Program) fields(c *coder) {
	c.text(&p.Name)
	c.text(&p.Section)
	number(c, &p.Function)
}

func (m *Map) fields(c *coder) {
	c.text(&m.Name)
	number(c, &m.Kind)
	number(c, &m.Type)
	number(c, &m.KeySize)
	number(c, &m.ValueSize)
	number(c, &m.MaxEntries)
	number(c, &m.Flags)
	number(c, &m.NUMANode)
	c.long(&m.Extra)
	number(c, &m.Pinning)
	number(c, &m.KeyType)
	number(c, &m.ValueType)
	number(c, &m.Inner)
	c.bytes(&m.Contents)
	c.flags(&m.Metadata)
}

func (e *Extern) fields(c *coder) {
	c.text(&e.Name)
	number(c, &e.Kind)
	number(c, &e.Type)
	c.flags(&e.Weak)
}

func (v *KconfigVar) fields(c *coder) {
	c.text(&v.Name)
	number(c, &v.Offset)
	number(c, &v.Size)
	number(c, &v.Kind)
	c.flags(&v.Signed, &v.Weak)
}

func (e *Element) fields(c *coder) {
	number(c, &e.Map)
	number(c, &e.Key)
	number(c, &e.Target)
	c.flags(&e.IsProgram)
}

func (s *StructOps) fields(c *coder) {
	c.text(&s.Name)
	c.text(&s.Section)
	number(c, &s.Type)
	c.bytes(&s.Contents)
	list(c, &s.Funcs, &c.funcs)
}

func (f *OpsFunc) fields(c *coder) {
	number(c, &f.Offset)
	number(c, &f.Program)
}

func (v *Variable) fields(c *coder) {
	c.text(&v.Name)
	number(c, &v.Map)
	number(c, &v.Offset)
	number(c, &v.Size)
	number(c, &v.Type)
	c.flags(&v.Visible)
}

func (t *JumpTableContents) fields(c *coder) {
	number(c, &t.Function)
	list(c, &t.Instructions, &c.jumps)
}

func jumpFields(p *uint32, c *coder) { number(c, p) }
