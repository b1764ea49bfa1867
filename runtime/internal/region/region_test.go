package region

import (
	"bytes"
	"os"
	"testing"
	"unsafe"
)

// Regions of one object lie side by side, those that others may write to first, but for
// large ones.
func TestLayOut(t *testing.T) {
	page := os.Getpagesize()
	specs := []Spec{
		{Size: 3, Contents: []byte{1, 2, 3}},
		{Size: page + 1, Contents: bytes.Repeat([]byte{4}, page+1), Writable: true},
		{Size: blockSize + 8, Writable: true},
		{},
		{Size: 8, Writable: true},
	}
	m, regions := LayOut(specs)
	for i, want := range []struct{ start, capacity int }{
		{3 * page, page}, {0, 2 * page}, {0, blockSize + page}, {4 * page, 0}, {2 * page, page},
	} {
		r := &regions[i]
		if own := r.memory != m; own != (i == 2) {
			t.Errorf("region %d: memory of its own: %v", i, own)
		}
		if r.start != want.start || r.Capacity() != want.capacity || r.Size() != specs[i].Size || r.Mapped() {
			t.Errorf("region %d: %d bytes of %d at %d, want %+v", i, r.Size(), r.Capacity(), r.start, want)
		}
		if uintptr(r.Pointer())%uintptr(page) != 0 {
			t.Errorf("region %d: address %p", i, r.Pointer())
		}
		contents := specs[i].Contents
		if contents == nil {
			contents = make([]byte, specs[i].Size)
		}
		if !bytes.Equal(r.Bytes(), contents) {
			t.Errorf("region %d: contents differ", i)
		}
	}
	if _, regions := LayOut(nil); len(regions) != 0 {
		t.Errorf("of nothing: %v", regions)
	}
}

func TestSnapshot(t *testing.T) {
	r := New(Spec{Size: blockSize + 3, Writable: true})
	if s := r.Snapshot(); s.Contents() != nil {
		t.Error("a region that is zero has contents")
	}
	r.Bytes()[blockSize+2] = 7
	s := r.Snapshot()
	r.Bytes()[blockSize+2] = 8
	if got := s.Contents(); len(got) != r.Size() || got[blockSize+2] != 7 {
		t.Errorf("%d bytes, the last is %d", len(got), got[len(got)-1])
	}
	if s.blocks[0] != nil {
		t.Error("a block that is zero has contents")
	}
	into := New(Spec{Size: blockSize + 3})
	s.copyTo(into.Pointer())
	if !bytes.Equal(into.Bytes(), s.Contents()) {
		t.Error("the copy differs")
	}
}

func TestCopyShared(t *testing.T) {
	var from, to [40]byte
	for i := range from {
		from[i] = byte(i + 1)
	}
	for start := range 9 {
		for end := start; end <= len(from); end++ {
			clear(to[:])
			CopyShared(to[start:end], from[start:end])
			if !bytes.Equal(to[start:end], from[start:end]) || !isZero(to[:start]) || !isZero(to[end:]) {
				t.Fatalf("[%d:%d]: %v", start, end, to)
			}
		}
	}
	// No more than both have.
	clear(to[:])
	CopyShared(to[:], from[:9])
	if !isZero(to[9:]) || to[8] != 9 {
		t.Errorf("%v", to)
	}
	if uintptr(unsafe.Pointer(&to))%8 != 0 {
		t.Log("the arrays are not aligned: whole words were not tested")
	}
}

func TestMaxSize(t *testing.T) {
	most := MaxSize()
	if most == 0 || most >= 1<<31 {
		t.Errorf("MaxSize() = %d", most)
	}
	if !Fits(0) || !Fits(int(most)) || Fits(int(most)+1) {
		t.Errorf("Fits does not agree with MaxSize() = %d", most)
	}
	if page := os.Getpagesize(); WholePages(1) != page || WholePages(page) != page || WholePages(0) != 0 {
		t.Errorf("whole pages: %d, %d, %d", WholePages(0), WholePages(1), WholePages(page))
	}
}
