package vmlinuxh

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// FuzzHeader reads any bytes as BTF. There must be an error of one readable line
// or a header.
func FuzzHeader(f *testing.F) {
	u32 := &btf.Int{Name: "unsigned int", Size: 4}
	self := &btf.Struct{Name: "self", Size: 16, Members: []btf.Member{{Name: "n", Type: u32}, {Name: "b", Type: u32, Offset: 32, BitfieldSize: 3}}}
	self.Members = append(self.Members, btf.Member{Name: "next", Type: &btf.Pointer{Target: &btf.Const{Type: self}}, Offset: 64})
	fn := &btf.FuncProto{Return: u32, Params: []btf.FuncParam{{Type: &btf.Pointer{Target: self}}, {Type: (*btf.Void)(nil)}}}
	builder, err := btf.NewBuilder([]btf.Type{
		self,
		&btf.Union{Name: "u", Size: 8, Members: []btf.Member{{Type: &btf.Struct{Size: 4, Members: []btf.Member{{Name: "a", Type: u32}}}}}},
		&btf.Enum{Name: "e", Size: 8, Signed: true, Values: []btf.EnumValue{{Name: "A", Value: 1 << 40}}},
		&btf.Typedef{Name: "f", Type: &btf.Pointer{Target: fn}},
		&btf.Func{Name: "k", Type: fn, Tags: []string{kfuncTag, fastcallTag}},
		&btf.Typedef{Name: "a", Type: &btf.Volatile{Type: &btf.Array{Index: u32, Type: &btf.Fwd{Name: "x"}, Nelems: 3}}},
	}, nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		raw, err := builder.Marshal(nil, &btf.MarshalOptions{Order: order})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		types, err := Load(raw, nil)
		if err != nil {
			checkError(t, err)
			return
		}
		if _, err := types.Header(nil); err != nil {
			checkError(t, err)
			return
		}
		var names []string
		for _, id := range types.roots() {
			if name := types.raw.At(id).Name(); name != "" {
				names = append(names, name)
			}
		}
		for name := range types.kfuncs {
			names = append(names, name)
		}
		if _, err := types.Subset(names); err != nil {
			checkError(t, err)
		}
	})
}

func checkError(t *testing.T, err error) {
	if s := err.Error(); s == "" || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == '\ufffd' }) {
		t.Errorf("error that is not readable: %q", s)
	}
}

// words is BTF of types that are given as words, and of no strings but a letter.
func words(types ...uint32) []byte {
	order := binary.LittleEndian
	b := []byte{0x9f, 0xeb, 1, 0}
	for _, w := range []uint32{24, 0, uint32(4 * len(types)), uint32(4 * len(types)), 3} {
		b = order.AppendUint32(b, w)
	}
	for _, w := range types {
		b = order.AppendUint32(b, w)
	}
	return append(b, "\x00a\x00"...)
}

// What a damaged file can ask for has an end: types that contain or name
// themselves, and chains and trees of types.
func TestHostile(t *testing.T) {
	const (
		integer, pointer, array, structure, typedef, constant, proto = 1 << 24, 2 << 24, 3 << 24, 4 << 24, 8 << 24, 10 << 24, 13 << 24
	)
	chain := func(n, step int, kind uint32) []uint32 {
		types := []uint32{1, typedef, 2}
		if step < 0 {
			types[2] = uint32(n)
		}
		for i := range n {
			id := i + 2
			types = append(types, 0, kind, uint32(id+step))
		}
		return types
	}
	tree := func(n int, name uint32) []uint32 {
		types := []uint32{1, typedef, 2}
		for i := range n {
			id := uint32(i + 2)
			types = append(types, name, structure|2, 8, 1, id+1, 0, 1, id+1, 0)
		}
		return append(types, 0, integer, 4, 32)
	}
	protos := func(n int) []uint32 {
		types := []uint32{1, typedef, 2}
		for i := range n {
			id := uint32(2*i + 2)
			types = append(types, 0, pointer, id+1, 0, proto|2, 0, 0, id+2, 0, id+2)
		}
		return append(types, 0, integer, 4, 32)
	}
	for name, raw := range map[string][]byte{
		"typedef of itself":             words(1, typedef, 1),
		"const of itself":               words(1, typedef, 2, 0, constant, 2),
		"struct in itself":              words(1, structure|1, 4, 1, 1, 0),
		"unnamed struct in itself":      words(1, typedef, 2, 0, structure|1, 4, 0, 2, 0),
		"array of itself":               words(1, typedef, 2, 0, array, 0, 2, 2, 4),
		"pointer to itself":             words(1, typedef, 2, 0, pointer, 2),
		"chain of pointers":             words(chain(50_000, 1, pointer)...),
		"chain of pointers backwards":   words(chain(1_000_000, -1, pointer)...),
		"chain of qualifiers":           words(chain(50_000, 1, constant)...),
		"chain of more than the stack":  words(chain(1_000_000, 1, pointer)...),
		"chain of qualifiers backwards": words(chain(1_000_000, -1, constant)...),
		"tree of unnamed structs":       words(tree(40, 0)...),
		"tree of function pointers":     words(protos(40)...),
	} {
		t.Run(name, func(t *testing.T) {
			types, err := Load(raw, nil)
			if err == nil {
				_, err = types.Header(nil)
			}
			if err != nil {
				checkError(t, err)
			}
			t.Log(err)
		})
	}
}

func TestContents(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	for name, data := range map[string]string{"cut ELF": "\x7fELF\x02\x01\x01", "not there": ""} {
		if data != "" {
			if err := os.WriteFile(file, []byte(data), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Contents(file); err == nil && name == "cut ELF" {
			t.Errorf("%s: no error", name)
		}
		os.Remove(file)
	}
}
