package image

import (
	"iter"
	"unsafe"
)

// Record is what a Table has: a struct of fields of 4 bytes each.
type Record interface {
	Relocation | CORE | FuncInfo | LineInfo
}

// Table is a table of records as it is in the image: it is read record by record, and
// takes no memory of its own.
//
// It has functions and no methods: skeletons refer to it, and methods of a generic type are
// compiled once more in each package of those.
type Table[R Record] struct {
	raw string
}

// NewTable returns a table of the records.
func NewTable[R Record](records []R) Table[R] {
	if len(records) == 0 {
		return Table[R]{}
	}
	size := int(unsafe.Sizeof(records[0]))
	return Table[R]{string(unsafe.Slice((*byte)(unsafe.Pointer(&records[0])), len(records)*size))}
}

// Len returns how many records the table has.
func Len[R Record](t Table[R]) int {
	var r R
	return len(t.raw) / int(unsafe.Sizeof(r))
}

// At returns the record with the index, which is less than Len.
func At[R Record](t Table[R], i int) R {
	var r R
	size := int(unsafe.Sizeof(r))
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&r)), size), t.raw[i*size:(i+1)*size])
	return r
}

// All returns the records with their indices.
func All[R Record](t Table[R]) iter.Seq2[int, R] {
	return func(yield func(int, R) bool) {
		for i := range Len(t) {
			if !yield(i, At(t, i)) {
				return
			}
		}
	}
}
