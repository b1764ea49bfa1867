package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/core"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
)

// A struct_ops table has the object's layout, and the kernel wants its own: members are
// matched by their names.

// isFunctionPointer reports whether a member of the type holds a program.
func isFunctionPointer(t rawbtf.Type) bool {
	p, ok := t.Skip()
	if !ok || p.Kind() != rawbtf.Ptr {
		return false
	}
	f, ok := p.Elem().Skip()
	return ok && f.Kind() == rawbtf.FuncProto
}

// functionMember returns the index of the kernel's member for a program and where it is,
// in bytes.
func functionMember(kernel rawbtf.Type, name string) (index, offset uint32, err error) {
	for i := range kernel.Vlen() {
		m := kernel.Member(i)
		if m.Name != name {
			continue
		}
		if !isFunctionPointer(kernel.In().At(m.Type)) {
			return 0, 0, fmt.Errorf("the kernel's struct %s has no function there", kernel.Name())
		}
		return uint32(i), m.Offset / 8, nil
	}
	return 0, 0, fmt.Errorf("the kernel's struct %s has no such member", kernel.Name())
}

// copyMembers copies the members of a struct of the type user, whose bytes are src, to
// one of the type kernel. A member that is zero is zero anywhere; any other needs one of
// the same name, kind and size. Functions at the table's top are not copied.
func copyMembers(dst, src []byte, kernel, user rawbtf.Type) error {
	c := copier{dst: dst, src: src, left: maxMembers}
	return c.composite(kernel, user, 0, 0, 0)
}

// copier copies values from one layout to another. Offsets are in bits.
type copier struct {
	dst, src []byte
	// left is how many members may still be looked at.
	left int
}

const (
	// maxNesting bounds how deep types are nested, and maxMembers how many members are
	// looked at: hostile BTF could go on without an end.
	maxNesting = 32
	maxMembers = 1 << 18
)

var (
	errTooDeep = errors.New("is nested too deep")
	errTooMany = errors.New("has too many members")
)

// members calls visit with the members of a struct or union, and with those of anonymous
// ones in it, whose offsets are from its start.
func (c *copier) members(t rawbtf.Type, base uint64, depth int, visit func(m member) error) error {
	if depth > maxNesting {
		return errTooDeep
	}
	t, ok := t.Skip()
	if !ok || !t.Kind().IsComposite() {
		return nil
	}
	for i := range t.Vlen() {
		if c.left--; c.left < 0 {
			return errTooMany
		}
		m := t.Member(i)
		at := member{m.Name, t.In().At(m.Type), base + uint64(m.Offset), uint64(m.Bits)}
		var err error
		if m.Name == "" {
			err = c.members(at.typ, at.offset, depth+1, visit)
		} else {
			err = visit(at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// member is a member at an offset, of a number of bits if it is a bit-field. Both are in
// bits.
type member struct {
	name         string
	typ          rawbtf.Type
	offset, bits uint64
}

// width returns the size of a member, in bits.
func (m member) width() (uint64, error) {
	if m.bits > 0 {
		return m.bits, nil
	}
	if m.offset%8 != 0 {
		return 0, errors.New("does not start at a byte")
	}
	n, ok := m.typ.SizeOf()
	if !ok {
		return 0, errors.New("has no size")
	}
	return n * 8, nil
}

// composite copies the members of a struct or union at from to one at to.
func (c *copier) composite(kernel, user rawbtf.Type, to, from uint64, depth int) error {
	if depth > maxNesting {
		return errTooDeep
	}
	known := make(map[string]member)
	err := c.members(kernel, 0, 0, func(m member) error {
		if _, ok := known[m.name]; !ok {
			known[m.name] = m
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("the kernel's %s: %w", nameOf(kernel), err)
	}
	return c.members(user, from, 0, func(m member) error {
		if depth == 0 && isFunctionPointer(m.typ) {
			return nil
		}
		bits, err := m.width()
		if err != nil {
			return fmt.Errorf("member %s: %w", m.name, err)
		}
		if m.offset+bits > uint64(len(c.src))*8 {
			return fmt.Errorf("member %s: ends beyond its struct", m.name)
		}
		if c.zero(m.offset, bits) {
			return nil
		}
		km, ok := known[m.name]
		if !ok {
			return fmt.Errorf("member %s is %s, and the kernel's %s has no such member: set it to zero, or load on a kernel that has it", m.name, c.text(m.offset, bits), nameOf(kernel))
		}
		km.offset += to
		if err := c.member(km, m, depth); err != nil {
			return fmt.Errorf("member %s: %w", m.name, err)
		}
		return nil
	})
}

func (c *copier) member(kernel, user member, depth int) error {
	bits, err := user.width()
	if err != nil {
		return err
	}
	if kernel.bits == 0 && user.bits == 0 {
		return c.value(kernel.typ, user.typ, kernel.offset, user.offset, depth)
	}
	kernelBits, err := kernel.width()
	if err != nil {
		return err
	}
	// A number in whole bytes and one in bits: their highest bits are elsewhere.
	if bits != kernelBits || kernel.bits == 0 || user.bits == 0 {
		return fmt.Errorf("is %s and has %d bits in the object and %d in the kernel: set it to zero, or declare it as the kernel does", c.text(user.offset, bits), bits, kernelBits)
	}
	if kernel.offset+bits > uint64(len(c.dst))*8 {
		return errors.New("ends beyond the kernel's struct")
	}
	for i := range bits {
		setBit(c.dst, kernel.offset+i, hasBit(c.src, user.offset+i))
	}
	return nil
}

// value copies a value that is not zero. Both offsets are those of bytes.
func (c *copier) value(kernel, user rawbtf.Type, to, from uint64, depth int) error {
	kernel, okKernel := kernel.Skip()
	user, okUser := user.Skip()
	if !okKernel || !okUser {
		return errTooDeep
	}
	kernelSize, ok := kernel.SizeOf()
	if !ok {
		return errors.New("the kernel's BTF has no size of it")
	}
	userSize, ok := user.SizeOf()
	if !ok {
		return errors.New("has no size")
	}
	if to%8 != 0 || to/8+kernelSize > uint64(len(c.dst)) {
		return errors.New("ends beyond the kernel's struct")
	}
	class := classOf(user)
	mismatch := func() error {
		return fmt.Errorf("is %s in the object and %s in the kernel: set it to zero, or declare it as the kernel does", describe(user), describe(kernel))
	}
	if class == "" || class != classOf(kernel) {
		return mismatch()
	}
	switch user.Kind() {
	case rawbtf.Ptr:
		// The kernel takes none (bpf_struct_ops_map_update_elem): it sets owner itself,
		// and addresses of its memory are not for others to give.
		return fmt.Errorf("is %s, and a pointer in the kernel (%s), which only a module of the kernel may set: set it to zero", c.text(from, userSize*8), describePointer(kernel))
	case rawbtf.Struct:
		// Its own members are matched, so its size may differ.
		return c.composite(kernel, user, to, from, depth+1)
	case rawbtf.Array:
		kernelElem, kernelCount := kernel.Array()
		userElem, userCount := user.Array()
		k, u := kernel.In().At(kernelElem), user.In().At(userElem)
		if kernelCount != userCount || classOf(k) != classOf(u) {
			return mismatch()
		}
		if userSize > 0 && classOf(u) == "struct" {
			return c.array(k, u, uint64(userCount), to, from, depth)
		}
	}
	if kernelSize != userSize {
		return mismatch()
	}
	copy(c.dst[to/8:], c.src[from/8:from/8+userSize])
	return nil
}

// array copies an array of n structs.
func (c *copier) array(kernel, user rawbtf.Type, n, to, from uint64, depth int) error {
	kernelStep, ok := kernel.SizeOf()
	step, okUser := user.SizeOf()
	if !ok || !okUser {
		return errors.New("has no size")
	}
	for i := range n {
		if c.left--; c.left < 0 {
			return errTooMany
		}
		if err := c.value(kernel, user, to+i*kernelStep*8, from+i*step*8, depth+1); err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}
	}
	return nil
}

// classOf returns what values of the type are, "" for what is no value. Values of one
// class and size have the same bytes.
func classOf(t rawbtf.Type) string {
	t, _ = t.Skip()
	switch t.Kind() {
	case rawbtf.Int, rawbtf.Enum, rawbtf.Enum64:
		return "integer"
	case rawbtf.Float:
		return "float"
	case rawbtf.Ptr:
		return "pointer"
	case rawbtf.Array:
		return "array"
	case rawbtf.Struct:
		return "struct"
	case rawbtf.Union:
		return "union"
	}
	return ""
}

// describe returns what a type is, as far as it matters to copies of values.
func describe(t rawbtf.Type) string {
	size, _ := t.SizeOf()
	if t.Kind() == rawbtf.Array {
		_, n := t.Array()
		return fmt.Sprintf("an array of %d elements in %d bytes", n, size)
	}
	class := classOf(t)
	if class == "" {
		return "no value"
	}
	article := "a"
	if class == "integer" {
		article = "an"
	}
	return fmt.Sprintf("%s %s of %d bytes", article, class, size)
}

// describePointer returns a pointer as C has it, such as "struct module *".
func describePointer(p rawbtf.Type) string {
	target, _ := p.Elem().Skip()
	if target.Name() == "" {
		return "void *"
	}
	return core.TypeName(target) + " *"
}

func nameOf(t rawbtf.Type) string {
	if name := t.Name(); name != "" {
		return "struct " + name
	}
	return "struct"
}

// zero reports whether these bits of the source are zero.
func (c *copier) zero(from, bits uint64) bool {
	if from%8 == 0 && bits%8 == 0 {
		for _, b := range c.src[from/8 : (from+bits)/8] {
			if b != 0 {
				return false
			}
		}
		return true
	}
	for i := range bits {
		if hasBit(c.src, from+i) {
			return false
		}
	}
	return true
}

// text shows a value of the source: a number, or its bytes.
func (c *copier) text(from, bits uint64) string {
	if from%8 != 0 || bits%8 != 0 {
		return "not zero"
	}
	b := c.src[from/8 : (from+bits)/8]
	switch len(b) {
	case 1:
		return fmt.Sprint(b[0])
	case 2:
		return fmt.Sprint(binary.NativeEndian.Uint16(b))
	case 4:
		return fmt.Sprint(binary.NativeEndian.Uint32(b))
	case 8:
		return fmt.Sprint(binary.NativeEndian.Uint64(b))
	}
	const most = 16
	more := ""
	if len(b) > most {
		b, more = b[:most], "..."
	}
	return strings.TrimSpace(fmt.Sprintf("% x", b)) + more
}

// mask returns the byte of a bit and the bit in it, in the order of bit-fields: on
// machines with the highest byte first, a bit-field starts at the highest bit.
func mask(at uint64) (uint64, byte) {
	if littleEndian {
		return at / 8, 1 << (at % 8)
	}
	return at / 8, 0x80 >> (at % 8)
}

func hasBit(b []byte, at uint64) bool {
	i, m := mask(at)
	return b[i]&m != 0
}

func setBit(b []byte, at uint64, on bool) {
	if i, m := mask(at); on {
		b[i] |= m
	}
}
