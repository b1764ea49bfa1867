package usdt

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf/btf"
)

// EncodeSpec returns the value of [SpecMap] for arguments and the user's cookie, a struct
// __bpf_usdt_spec. typ, the type of the map's values in the object's BTF, says where its
// members are: versions of libbpf differ. An argument that typ has no members for becomes one
// that programs cannot read.
func EncodeSpec(order binary.ByteOrder, typ btf.Type, args []Arg, cookie uint64) ([]byte, error) {
	st, ok := btf.As[*btf.Struct](typ)
	if !ok {
		return nil, errors.New("its values are no struct")
	}
	buf := &bitBuffer{order: order, bytes: make([]byte, st.Size)}
	array, err := member(st, "args")
	if err != nil {
		return nil, err
	}
	arr, ok := btf.As[*btf.Array](array.Type)
	if !ok {
		return nil, errors.New("member args is not an array")
	}
	elem, ok := btf.As[*btf.Struct](arr.Type)
	if !ok || uint32(len(args)) > arr.Nelems {
		return nil, errors.New("member args is not an array of structs that is long enough")
	}
	_, err = member(elem, "idx_reg_off")
	hasIndex := err == nil
	for i := range args {
		arg := &args[i]
		if arg.kind == indexed && !hasIndex {
			arg.kind, arg.Err = unreadable, fmt.Errorf("argument %d: needs two registers, which <bpf/usdt.bpf.h> of libbpf 1.7 is the first to support", i)
		}
		at := uint32(array.Offset) + 8*uint32(i)*elem.Size
		signed := uint64(0)
		if arg.signed {
			signed = 1
		}
		buf.set(elem, at, "val_off", uint64(arg.value))
		buf.set(elem, at, "arg_type", uint64(arg.kind))
		buf.set(elem, at, "reg_off", uint64(arg.reg))
		buf.set(elem, at, "arg_signed", signed)
		buf.set(elem, at, "arg_bitshift", uint64(64-8*arg.size))
		if arg.kind == indexed {
			buf.set(elem, at, "idx_reg_off", uint64(arg.index))
			buf.set(elem, at, "scale_bitshift", uint64(arg.shift))
		}
	}
	buf.set(st, 0, "arg_cnt", uint64(len(args)))
	if cookie != 0 {
		buf.set(st, 0, "usdt_cookie", cookie)
	}
	return buf.bytes, buf.err
}

func member(st *btf.Struct, name string) (btf.Member, error) {
	for _, m := range st.Members {
		if m.Name == name {
			return m, nil
		}
	}
	return btf.Member{}, fmt.Errorf("struct %s has no member %s", st.Name, name)
}

// bitBuffer is the memory of C structs.
type bitBuffer struct {
	order binary.ByteOrder
	bytes []byte
	err   error
}

// set sets a member of the struct that begins at the bit at.
func (b *bitBuffer) set(st *btf.Struct, at uint32, name string, value uint64) {
	m, err := member(st, name)
	size := uint32(m.BitfieldSize)
	if err == nil && size == 0 {
		var n int
		n, err = btf.Sizeof(m.Type)
		size = 8 * uint32(n)
	}
	at += uint32(m.Offset)
	if err == nil && uint64(at)+uint64(size) > 8*uint64(len(b.bytes)) {
		err = fmt.Errorf("member %s of struct %s ends beyond it", name, st.Name)
	}
	if err != nil {
		b.err = cmp.Or(b.err, err)
		return
	}
	for i := range min(size, 64) {
		if value>>i&1 == 0 {
			continue
		}
		// Compared by what it does: binary.NativeEndian is equal to neither.
		if b.order.Uint16([]byte{1, 0}) == 1 {
			b.bytes[(at+i)/8] |= 1 << ((at + i) % 8)
			continue
		}
		// The highest bit comes first, in bytes and in bit-fields.
		bit := at + size - 1 - i
		b.bytes[bit/8] |= 0x80 >> (bit % 8)
	}
}
