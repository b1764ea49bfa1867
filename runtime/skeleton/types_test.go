package skeleton_test

import (
	"encoding/binary"
	"math"
	"testing"
	"unsafe"

	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

func TestString(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", ""},
		{"\x00", ""},
		{"comm\x00\x00", "comm"},
		{"full", "full"},
		{"a\x00b\x00", "a"},
	} {
		if got := skeleton.String([]byte(tt.text)); got != tt.want {
			t.Errorf("String(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestSetString(t *testing.T) {
	text := []byte("a longer text\x00")
	if err := skeleton.SetString(text, "short"); err != nil || string(text) != "short\x00\x00\x00\x00\x00\x00\x00\x00\x00" {
		t.Errorf("got %q, %v", text, err)
	}
	if err := skeleton.SetString(text, "thirteen byte"); err != nil || skeleton.String(text) != "thirteen byte" {
		t.Errorf("got %q, %v", text, err)
	}
	for _, s := range []string{"fourteen bytes", "more than fourteen bytes"} {
		if err := skeleton.SetString(text, s); err == nil || skeleton.String(text) != "thirteen byte" {
			t.Errorf("SetString(%q) gives %q, %v", s, text, err)
		}
	}
	if err := skeleton.SetString(nil, ""); err == nil {
		t.Error("there is no space for a NUL in nothing")
	}
}

func TestPointer(t *testing.T) {
	if got, want := skeleton.Pointer(0xffff888000001000).String(), "0xffff888000001000"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestInt128(t *testing.T) {
	for _, tt := range []struct {
		high int64
		low  uint64
		want string
	}{
		{0, 0, "0"},
		{0, math.MaxUint64, "18446744073709551615"},
		{1, 0, "18446744073709551616"},
		{-1, math.MaxUint64, "-1"},
		{-1, 0, "-18446744073709551616"},
		{math.MinInt64, 0, "-170141183460469231731687303715884105728"},
	} {
		n := skeleton.NewInt128(tt.high, tt.low)
		if n.String() != tt.want || n.High() != tt.high || n.Low() != tt.low {
			t.Errorf("%d, %d: got %s, %d, %d, want %s", tt.high, tt.low, n, n.High(), n.Low(), tt.want)
		}
	}
}

func TestUint128(t *testing.T) {
	for _, tt := range []struct {
		high, low uint64
		want      string
	}{
		{0, 0, "0"},
		{0, 1, "1"},
		{1, 2, "18446744073709551618"},
		{math.MaxUint64, math.MaxUint64, "340282366920938463463374607431768211455"},
	} {
		n := skeleton.NewUint128(tt.high, tt.low)
		if n.String() != tt.want || n.High() != tt.high || n.Low() != tt.low {
			t.Errorf("%d, %d: got %s, %d, %d, want %s", tt.high, tt.low, n, n.High(), n.Low(), tt.want)
		}
	}
}

// The lower half is where C has it.
func TestUint128Memory(t *testing.T) {
	n := skeleton.NewUint128(0, 1)
	b := (*[16]byte)(unsafe.Pointer(&n))
	first := 0
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		first = 15
	}
	if b[first] != 1 {
		t.Errorf("1 is % x", *b)
	}
}
