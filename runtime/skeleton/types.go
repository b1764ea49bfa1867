package skeleton

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/big"
	"strconv"
)

// Pointer is a pointer of a BPF program: to a variable, to kernel memory, to a
// function. It has 8 bytes on every architecture, as BPF has 64-bit registers on
// 32-bit machines too. It is an address of the other side, so there is nothing
// to dereference; compare it with 0 or with another one.
type Pointer uint64

// String returns the address in hexadecimal.
func (p Pointer) String() string {
	return "0x" + strconv.FormatUint(uint64(p), 16)
}

// word128 is an integer of 16 bytes as two words in the order of memory. Its
// alignment in Go is that of uint64, so structs with such an integer have
// explicit gaps.
type word128 [2]uint64

// low is the index of the word with the low bits.
var low = func() int {
	// On a big-endian machine, the last byte is the lowest.
	return int(binary.NativeEndian.Uint16([]byte{0, 1}) & 1)
}()

// Uint128 is C's unsigned __int128.
type Uint128 struct{ words word128 }

// NewUint128 returns the number with these upper and lower 64 bits.
func NewUint128(high, lo uint64) (n Uint128) {
	n.words[1-low], n.words[low] = high, lo
	return n
}

// High returns the upper 64 bits.
func (n Uint128) High() uint64 { return n.words[1-low] }

// Low returns the lower 64 bits.
func (n Uint128) Low() uint64 { return n.words[low] }

// Big returns the number with a type that has arithmetic.
func (n Uint128) Big() *big.Int {
	b := new(big.Int).SetUint64(n.High())
	return b.Lsh(b, 64).Or(b, new(big.Int).SetUint64(n.Low()))
}

// String returns the number in decimal.
func (n Uint128) String() string { return n.Big().String() }

// Int128 is C's __int128.
type Int128 struct{ words word128 }

// NewInt128 returns the number with these upper and lower 64 bits: a negative
// number has a negative upper half.
func NewInt128(high int64, lo uint64) (n Int128) {
	n.words[1-low], n.words[low] = uint64(high), lo
	return n
}

// High returns the upper 64 bits, which have the sign.
func (n Int128) High() int64 { return int64(n.words[1-low]) }

// Low returns the lower 64 bits.
func (n Int128) Low() uint64 { return n.words[low] }

// Big returns the number with a type that has arithmetic.
func (n Int128) Big() *big.Int {
	b := big.NewInt(n.High())
	return b.Lsh(b, 64).Or(b, new(big.Int).SetUint64(n.Low()))
}

// String returns the number in decimal.
func (n Int128) String() string { return n.Big().String() }

// String returns the text in a C array of characters, which ends before the
// first NUL, or with the array when there is none.
func String(text []byte) string {
	if end := bytes.IndexByte(text, 0); end >= 0 {
		text = text[:end]
	}
	return string(text)
}

// SetString sets a C array of characters to s, with NULs after it, and fails when the
// array is too short for s and one NUL.
func SetString(text []byte, s string) error {
	if len(s) >= len(text) {
		return fmt.Errorf("%q has %d bytes, and the array of %d has space for %d and a NUL", s, len(s), len(text), max(len(text)-1, 0))
	}
	clear(text[copy(text, s):])
	return nil
}
