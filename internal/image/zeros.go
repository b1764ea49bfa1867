package image

import (
	"bytes"
	"encoding/binary"
)

// A part with runs of zeros is coded as pairs of numbers (uvarint), each pair followed by
// bytes: how many zeros come, and how many bytes that are as they stand.

const (
	// minRun is how many zeros are coded: fewer are cheaper to copy than to count.
	minRun = 64
	// worth is the share of a part that coding must save, as its inverse.
	worth = 4
)

// codeZeros codes data. It reports false when that saves too little to be worth a copy in
// every process that reads it.
func codeZeros(data []byte) ([]byte, bool) {
	var out []byte
	rest := data
	for zeros := 0; len(rest) > 0 || zeros > 0; {
		n := untilRun(rest)
		out = binary.AppendUvarint(out, uint64(zeros))
		out = binary.AppendUvarint(out, uint64(n))
		out = append(out, rest[:n]...)
		rest = rest[n:]
		zeros = leadingZeros(rest)
		rest = rest[zeros:]
	}
	return out, len(out) <= len(data)-len(data)/worth
}

// untilRun returns how many bytes come before the first run of zeros that is coded.
func untilRun(data []byte) int {
	for at := 0; ; {
		next := bytes.IndexByte(data[at:], 0)
		if next < 0 {
			return len(data)
		}
		at += next
		n := leadingZeros(data[at:])
		if n >= minRun {
			return at
		}
		at += n
	}
}

func leadingZeros(data []byte) int {
	n := 0
	for n < len(data) && data[n] == 0 {
		n++
	}
	return n
}

// decodeZeros is the opposite, for size bytes. It allocates nothing unless the runs are
// as many bytes.
func decodeZeros(data []byte, size int) ([]byte, bool) {
	if !runs(data, size, func(int, []byte) {}) {
		return nil, false
	}
	out := make([]byte, size)
	return out, runs(data, size, func(at int, b []byte) { copy(out[at:], b) })
}

// runs calls f with what stands between runs of zeros, and where. It reports whether all
// of it are size bytes.
func runs(data []byte, size int, f func(at int, b []byte)) bool {
	at := uint64(0)
	for len(data) > 0 {
		zeros, n := binary.Uvarint(data)
		if n <= 0 {
			return false
		}
		data = data[n:]
		plain, n := binary.Uvarint(data)
		if n <= 0 || zeros > maxImage || plain > uint64(len(data)-n) {
			return false
		}
		data = data[n:]
		if at += zeros; at+plain > uint64(size) {
			return false
		}
		f(int(at), data[:plain])
		data = data[plain:]
		at += plain
	}
	return at == uint64(size)
}
