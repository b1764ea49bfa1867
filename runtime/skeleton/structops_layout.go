package skeleton

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"
)

var nativeEndian = binary.NativeEndian

// bigEndian says that a bit-field starts at the highest bit of its first byte.
var bigEndian = nativeEndian.Uint16([]byte{0, 1}) == 1

// essentialName returns the name of a type without its flavour: foo of foo___v2. The
// rule is libbpf's: what separates them are exactly three underscores.
func essentialName(name string) string {
	for i := len(name) - 5; i >= 0; i-- {
		if s := name[i : i+5]; s[1:4] == "___" && s[0] != '_' && s[4] != '_' {
			return name[:i+1]
		}
	}
	return name
}

// funcOffset returns where the kernel's type has the function pointer called name,
// in bytes.
func funcOffset(kernel *btf.Struct, name string) (uint32, error) {
	for _, m := range kernel.Members {
		if m.Name != name {
			continue
		}
		if p, ok := btf.As[*btf.Pointer](m.Type); ok {
			if _, ok := btf.As[*btf.FuncProto](p.Target); ok {
				return m.Offset.Bytes(), nil
			}
		}
		return 0, fmt.Errorf("the kernel's struct %s has no function there", kernel.Name)
	}
	return 0, fmt.Errorf("the kernel's struct %s has no such member", kernel.Name)
}

// copyMembers copies the members of a struct of the type user, whose bytes are src,
// to one of the type kernel. They are matched by name. A member that is zero is zero
// anywhere; any other needs one of the same kind and size.
func copyMembers(dst, src []byte, kernel, user *btf.Struct) error {
	c := copier{dst, src}
	return c.composite(kernel, user, 0, 0, 0)
}

// copier copies values from one layout to another. Places are in bits.
type copier struct {
	dst, src []byte
}

// maxNesting bounds how deep types are nested, which hostile BTF could do without
// an end.
const maxNesting = 32

// composite copies the members of a struct or union at from to one at to.
func (c copier) composite(kernel, user btf.Type, to, from uint64, depth int) error {
	if depth > maxNesting {
		return errors.New("is nested too deep")
	}
	known := make(map[string]btf.Member)
	index(known, kernel, 0, 0)
	return c.members(known, kernel, user, to, from, depth)
}

// index collects the members of a struct or union by name, with those of anonymous
// ones in it; offsets are from its start.
func index(known map[string]btf.Member, t btf.Type, base btf.Bits, depth int) {
	if depth > maxNesting {
		return
	}
	for _, m := range membersOf(t) {
		m.Offset += base
		if m.Name == "" {
			index(known, m.Type, m.Offset, depth+1)
		} else if _, ok := known[m.Name]; !ok {
			known[m.Name] = m
		}
	}
}

func membersOf(t btf.Type) []btf.Member {
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		return t.Members
	case *btf.Union:
		return t.Members
	}
	return nil
}

func (c copier) members(known map[string]btf.Member, kernel, user btf.Type, to, from uint64, depth int) error {
	if depth > maxNesting {
		return errors.New("is nested too deep")
	}
	for _, m := range membersOf(user) {
		at := from + uint64(m.Offset)
		if m.Name == "" {
			if err := c.members(known, kernel, m.Type, to, at, depth+1); err != nil {
				return err
			}
			continue
		}
		bits, err := width(m)
		if err != nil {
			return fmt.Errorf("member %s: %w", m.Name, err)
		}
		if at+bits > uint64(len(c.src))*8 {
			return fmt.Errorf("member %s: lies beyond the end of its struct", m.Name)
		}
		if c.zero(at, bits) {
			continue
		}
		km, ok := known[m.Name]
		if !ok {
			return fmt.Errorf("member %s is %s, and the kernel's %s has no such member: set it to zero, or load on a kernel that has it", m.Name, c.text(at, bits), nameOf(kernel))
		}
		if err := c.member(km, m, to+uint64(km.Offset), at, depth); err != nil {
			return fmt.Errorf("member %s: %w", m.Name, err)
		}
	}
	return nil
}

// width returns the size of a member, in bits.
func width(m btf.Member) (uint64, error) {
	if m.BitfieldSize > 0 {
		return uint64(m.BitfieldSize), nil
	}
	if m.Offset%8 != 0 {
		return 0, errors.New("does not start at a byte")
	}
	n, err := btf.Sizeof(m.Type)
	if err != nil || n < 0 {
		return 0, errors.New("has no size")
	}
	return uint64(n) * 8, nil
}

func (c copier) member(kernel, user btf.Member, to, from uint64, depth int) error {
	if kernel.BitfieldSize == 0 && user.BitfieldSize == 0 {
		return c.value(kernel.Type, user.Type, to, from, depth)
	}
	bits, err := width(user)
	if err != nil {
		return err
	}
	kernelBits, err := width(kernel)
	if err != nil {
		return err
	}
	// A number in whole bytes and one in bits: their highest bits are elsewhere.
	if bits != kernelBits || kernel.BitfieldSize == 0 || user.BitfieldSize == 0 {
		return fmt.Errorf("is %s and has %d bits in the object and %d in the kernel: set it to zero, or declare it as the kernel does", c.text(from, bits), bits, kernelBits)
	}
	if to+bits > uint64(len(c.dst))*8 {
		return errors.New("lies beyond the end of the kernel's struct")
	}
	for i := range bits {
		setBit(c.dst, to+i, bit(c.src, from+i))
	}
	return nil
}

// value copies a value that is not zero. Both places are those of bytes.
func (c copier) value(kernel, user btf.Type, to, from uint64, depth int) error {
	kernel, user = btf.UnderlyingType(kernel), btf.UnderlyingType(user)
	kernelSize, err := btf.Sizeof(kernel)
	if err != nil {
		return fmt.Errorf("the kernel's BTF has no size of it: %w", err)
	}
	userSize, err := btf.Sizeof(user)
	if err != nil {
		return err
	}
	if to/8+uint64(kernelSize) > uint64(len(c.dst)) {
		return errors.New("lies beyond the end of the kernel's struct")
	}
	class := classOf(user)
	if class == "" || class != classOf(kernel) {
		return fmt.Errorf("is %s in the object and %s in the kernel: set it to zero, or declare it as the kernel does", describe(user), describe(kernel))
	}
	switch u := user.(type) {
	case *btf.Struct:
		// Its own members are matched, so its size may differ.
		return c.composite(kernel, user, to, from, depth+1)
	case *btf.Array:
		k := kernel.(*btf.Array)
		if k.Nelems == u.Nelems && userSize > 0 && classOf(btf.UnderlyingType(u.Type)) == "struct" {
			return c.array(k, u, to, from, depth)
		}
		if k.Nelems != u.Nelems || classOf(btf.UnderlyingType(k.Type)) != classOf(btf.UnderlyingType(u.Type)) {
			return fmt.Errorf("is %s in the object and %s in the kernel: set it to zero, or declare it as the kernel does", describe(user), describe(kernel))
		}
	}
	if kernelSize != userSize {
		return fmt.Errorf("is %s in the object and %s in the kernel: set it to zero, or declare it as the kernel does", describe(user), describe(kernel))
	}
	copy(c.dst[to/8:], c.src[from/8:from/8+uint64(userSize)])
	return nil
}

// array copies an array of structs.
func (c copier) array(kernel, user *btf.Array, to, from uint64, depth int) error {
	kernelStep, err := btf.Sizeof(kernel.Type)
	if err != nil {
		return err
	}
	step, err := btf.Sizeof(user.Type)
	if err != nil {
		return err
	}
	for i := range uint64(user.Nelems) {
		if err := c.value(kernel.Type, user.Type, to+i*uint64(kernelStep)*8, from+i*uint64(step)*8, depth+1); err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}
	}
	return nil
}

// classOf returns what values of the type are, "" for what is no value. Values of
// one class and size have the same bytes.
func classOf(t btf.Type) string {
	switch t.(type) {
	case *btf.Int, *btf.Enum:
		return "integer"
	case *btf.Float:
		return "float"
	case *btf.Pointer:
		return "pointer"
	case *btf.Array:
		return "array"
	case *btf.Struct:
		return "struct"
	case *btf.Union:
		return "union"
	}
	return ""
}

// describe says what a type is, as far as it matters to copies of values.
func describe(t btf.Type) string {
	size, _ := btf.Sizeof(t)
	if array, ok := t.(*btf.Array); ok {
		return fmt.Sprintf("an array of %d elements in %d bytes", array.Nelems, size)
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

func nameOf(t btf.Type) string {
	if name := t.TypeName(); name != "" {
		return "struct " + name
	}
	return "struct"
}

// zero says whether these bits of the source are zero.
func (c copier) zero(from, bits uint64) bool {
	if from%8 == 0 && bits%8 == 0 {
		return isZero(c.src[from/8 : (from+bits)/8])
	}
	for i := range bits {
		if bit(c.src, from+i) {
			return false
		}
	}
	return true
}

func isZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// text shows a value of the source: a number, or its bytes.
func (c copier) text(from, bits uint64) string {
	if from%8 != 0 || bits%8 != 0 {
		return "not zero"
	}
	b := c.src[from/8 : (from+bits)/8]
	switch len(b) {
	case 1:
		return fmt.Sprint(b[0])
	case 2:
		return fmt.Sprint(nativeEndian.Uint16(b))
	case 4:
		return fmt.Sprint(nativeEndian.Uint32(b))
	case 8:
		return fmt.Sprint(nativeEndian.Uint64(b))
	}
	const most = 16
	more := ""
	if len(b) > most {
		b, more = b[:most], "..."
	}
	return strings.TrimSpace(fmt.Sprintf("% x", b)) + more
}

// mask returns the byte of a bit and the bit in it, in the order of bit-fields.
func mask(at uint64) (uint64, byte) {
	if bigEndian {
		return at / 8, 0x80 >> (at % 8)
	}
	return at / 8, 1 << (at % 8)
}

func bit(b []byte, at uint64) bool {
	i, m := mask(at)
	return b[i]&m != 0
}

func setBit(b []byte, at uint64, on bool) {
	if i, m := mask(at); on {
		b[i] |= m
	}
}
