package usdt

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// specType returns struct __bpf_usdt_spec with members of newer versions or without.
func specType(withIndex bool) *btf.Struct {
	u64 := &btf.Int{Name: "__u64", Size: 8}
	s16 := &btf.Int{Name: "short", Size: 2, Encoding: btf.Signed}
	arg := &btf.Struct{Name: "__bpf_usdt_arg_spec", Size: 16, Members: []btf.Member{
		{Name: "val_off", Type: u64},
		{Name: "arg_type", Type: &btf.Int{Size: 4}, Offset: 64, BitfieldSize: 8},
		{Name: "reg_off", Type: s16, Offset: 80},
		{Name: "arg_signed", Type: &btf.Int{Size: 1, Encoding: btf.Bool}, Offset: 112},
		{Name: "arg_bitshift", Type: &btf.Int{Size: 1, Encoding: btf.Char}, Offset: 120},
	}}
	if withIndex {
		arg.Members = append(arg.Members,
			btf.Member{Name: "idx_reg_off", Type: &btf.Int{Size: 4}, Offset: 96, BitfieldSize: 12},
			btf.Member{Name: "scale_bitshift", Type: &btf.Int{Size: 4}, Offset: 108, BitfieldSize: 4})
	}
	return &btf.Struct{Name: "__bpf_usdt_spec", Size: 48, Members: []btf.Member{
		{Name: "args", Type: &btf.Array{Type: arg, Nelems: 2}},
		{Name: "usdt_cookie", Type: u64, Offset: 256},
		{Name: "arg_cnt", Type: s16, Offset: 320},
	}}
}

func TestEncodeSpec(t *testing.T) {
	args, err := ParseArgs("amd64", "-4@%eax 1@-96(%rbp,%rax,8)", nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := EncodeSpec(binary.LittleEndian, specType(true), args, 7)
	if err != nil {
		t.Fatal(err)
	}
	order := binary.LittleEndian
	want := make([]byte, 48)
	want[8], want[14], want[15] = byte(register), 1, 32
	order.PutUint16(want[10:], 80)
	order.PutUint64(want[16:], ^uint64(95))
	want[24], want[31] = byte(indexed), 56
	order.PutUint16(want[26:], 32)
	order.PutUint16(want[28:], 80|3<<12)
	order.PutUint64(want[32:], 7)
	order.PutUint16(want[40:], 2)
	if string(got) != string(want) {
		t.Errorf("%x, want %x", got, want)
	}
	// Members that are not needed need not be there.
	if _, err := EncodeSpec(binary.LittleEndian, specType(false), args[:1], 0); err != nil {
		t.Error(err)
	}
}

// An older header has no place for a second register: that argument fails alone.
func TestEncodeSpecOfOlderHeader(t *testing.T) {
	args, err := ParseArgs("amd64", "1@-96(%rbp,%rax,8) -4@%eax", nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := EncodeSpec(binary.LittleEndian, specType(false), args, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got[8] != 0xff || got[24] != byte(register) {
		t.Errorf("kinds are %d and %d", got[8], got[24])
	}
	if args[0].Err == nil || args[1].Err != nil {
		t.Errorf("%v, %v", args[0].Err, args[1].Err)
	}
}

// Bit-fields of big-endian machines begin with the highest bit.
func TestEncodeSpecBigEndian(t *testing.T) {
	args, err := ParseArgs("s390x", "-4@%r2 1@-96(%r1,%r15)", nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := EncodeSpec(binary.BigEndian, specType(true), args, 7)
	if err != nil {
		t.Fatal(err)
	}
	order := binary.BigEndian
	want := make([]byte, 48)
	want[8], want[14], want[15] = byte(register), 1, 32
	order.PutUint16(want[10:], 8*5)
	order.PutUint64(want[16:], ^uint64(95))
	want[24], want[31] = byte(indexed), 56
	order.PutUint16(want[26:], 8*18)
	// 12 bits of the register's offset, and 4 of the shift.
	order.PutUint16(want[28:], 8*4<<4)
	order.PutUint64(want[32:], 7)
	order.PutUint16(want[40:], 2)
	if string(got) != string(want) {
		t.Errorf("%x, want %x", got, want)
	}
}

func TestEncodeSpecErrors(t *testing.T) {
	args, err := ParseArgs("amd64", "4@%eax 1@-96(%rbp,%rax,8) 8@$1", nil)
	if err != nil {
		t.Fatal(err)
	}
	short := specType(true)
	short.Size = 40
	other := specType(true)
	other.Members = other.Members[1:]
	for _, tc := range []struct {
		name string
		typ  btf.Type
		args []Arg
		want string
	}{
		{"an integer", &btf.Int{Size: 8}, nil, "no struct"},
		{"no arguments", other, nil, "no member args"},
		{"too many arguments", specType(true), args, "long enough"},
		{"beyond the end", short, args[:1], "ends beyond it"},
	} {
		if _, err := EncodeSpec(binary.LittleEndian, tc.typ, tc.args, 0); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v does not contain %q", tc.name, err, tc.want)
		}
	}
}
