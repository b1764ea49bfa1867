package gotype

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

// maker makes types of bytes. Any bytes make some, most of which C could not have.
type maker struct {
	in    []byte
	types []btf.Type
}

func (m *maker) byte() byte {
	if len(m.in) == 0 {
		return 0
	}
	b := m.in[0]
	m.in = m.in[1:]
	return b
}

func (m *maker) pick() btf.Type { return m.types[int(m.byte())%len(m.types)] }

// name returns one of few names, so that some are equal; many have none.
func (m *maker) name() string {
	return []string{"", "", "a", "b", "set_a", "as_b", "raw", "union0", "bits0", "A"}[m.byte()%10]
}

func (m *maker) members() []btf.Member {
	var members []btf.Member
	offset := uint32(0)
	for range m.byte() % 8 {
		member := btf.Member{Name: m.name(), Type: m.pick()}
		// Offsets mostly grow, by bytes; what C does not do comes up often enough.
		switch b := m.byte(); {
		case b < 128:
			offset = (offset + 7) / 8 * 8
		case b < 160:
			offset += uint32(b % 32)
		case b < 240:
			member.BitfieldSize = btf.Bits(b % 70)
		default:
			offset = uint32(b)
		}
		member.Offset = btf.Bits(offset)
		switch {
		case member.BitfieldSize > 0:
			offset += uint32(member.BitfieldSize)
		default:
			if size, err := btf.Sizeof(member.Type); err == nil {
				offset += uint32(size) * 8
			}
		}
		members = append(members, member)
	}
	return members
}

func (m *maker) add() {
	var t btf.Type
	switch m.byte() % 10 {
	case 0:
		t = Array(m.pick(), uint32(m.byte()%4))
	case 1:
		t = Ptr(m.pick())
	case 2:
		t = Typedef("t"+m.name(), m.pick())
	case 3:
		t = Const(m.pick())
	case 4:
		t = &btf.Enum{Name: m.name(), Size: uint32(m.byte() % 9), Signed: m.byte()%2 == 0, Values: []btf.EnumValue{V("A", uint64(m.byte()))}}
	case 5:
		members := m.members()
		size := uint32(m.byte() % 64)
		t = &btf.Union{Name: m.name(), Size: size, Members: members}
	default:
		s := &btf.Struct{Name: m.name(), Members: m.members()}
		for _, member := range s.Members {
			end := uint32(member.Offset) + uint32(member.BitfieldSize)
			if size, err := btf.Sizeof(member.Type); err == nil && member.BitfieldSize == 0 {
				end += uint32(size) * 8
			}
			s.Size = max(s.Size, (end+7)/8)
		}
		s.Size += uint32(m.byte() % 9)
		t = s
	}
	m.types = append(m.types, t)
}

// FuzzTypes lays out any types. There must be errors of readable lines, or
// declarations that compile, in which every type has the size that it has in C.
func FuzzTypes(f *testing.F) {
	f.Add([]byte{})
	// Mutation alone takes long to get to types made of types.
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		in := make([]byte, 400)
		for i := range in {
			in[i] = byte(random.Uint32())
		}
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		m := &maker{in: in, types: []btf.Type{U8, S8, U16, S16, U32, S32, U64, S64, F32, F64, S128, Bool, Char, fwd, Struct("bpf_timer", M("", Array(U64, 2)))}}
		bigEndian := m.byte()%2 == 1
		for len(m.in) > 0 && len(m.types) < 64 {
			m.add()
		}
		d := settled(func(d *Decls) {
			d.BigEndian = bigEndian
			var variables []Variable
			end := uint64(0)
			for i, typ := range m.types {
				c, err := btf.Sizeof(typ)
				if err != nil {
					continue
				}
				converted, err := d.Convert(typ, "Type", fmt.Sprintf("type %d", i))
				if err != nil {
					var e *Error
					if !errors.As(err, &e) || strings.ContainsAny(err.Error(), "\n\r") {
						t.Errorf("not an error to read: %q", err)
					}
					continue
				}
				if converted.Size() != uint64(c) {
					t.Errorf("%s has %d bytes, want %d", converted, converted.Size(), c)
				}
				variables = append(variables, Variable{Name: "v", Offset: end, Size: uint64(c), Type: typ})
				end += uint64(c)
			}
			if errs := d.Section("Bss", ".bss", "a section", end, variables); errs != nil {
				t.Error(errs)
			}
		}, "Bss")
		if err := compileAll(d, []string{"amd64", "386"}); err != nil {
			t.Errorf("%v\n%s", err, d.Append(nil))
		}
	})
}
