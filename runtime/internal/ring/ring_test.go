package ring

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// testBuffer returns a buffer in Go's memory whose records are mapped once, as those of a perf
// buffer, and its positions.
func testBuffer(size int) (b *buffer, records []byte, consumer, producer *uint64) {
	words := make([]uint64, size/8)
	consumer, producer = new(uint64), new(uint64)
	b = &buffer{
		consumer: perfPositionAt(unsafe.Pointer(consumer)),
		producer: perfPositionAt(unsafe.Pointer(producer)),
		data:     unsafe.Pointer(unsafe.SliceData(words)),
		mask:     uint64(size) - 1,
	}
	return b, unsafe.Slice((*byte)(b.data), size), consumer, producer
}

func TestFootprint(t *testing.T) {
	for length, want := range map[uint64]uint64{0: 8, 1: 16, 8: 16, 9: 24, 16: 24, lengthMask: discardBit + 8} {
		if got := footprint(length); got != want {
			t.Errorf("footprint(%d) = %d, want %d", length, got, want)
		}
	}
}

// Positions are those of all bytes since the beginning, which CPUs of 32 bits see the low word
// of: what is loaded is near what is known.
func TestPositions(t *testing.T) {
	for _, at := range []uint64{0, 8, 1<<31 - 8, 1 << 31, 1<<32 - 8, 1 << 32, 1<<32 + 8, 5<<32 - 8} {
		var word uint64
		p := perfPositionAt(unsafe.Pointer(&word))
		p.store(at)
		for _, near := range []uint64{at, at + 4096, at - min(at, 4096)} {
			if got := p.load(near); got != at {
				t.Errorf("%#x is loaded as %#x near %#x", at, got, near)
			}
		}
		p.release(at + 16)
		if got := p.load(at); got != at+16 {
			t.Errorf("%#x is loaded as %#x", at+16, got)
		}
	}
	var word uint64
	p := positionAt(unsafe.Pointer(&word))
	p.store(24)
	if got := p.first(); got != 24 {
		t.Errorf("first position is %d", got)
	}
}

// What no reader can follow is refused before anything is mapped.
func TestAddRefuses(t *testing.T) {
	r := new(Reader)
	for want, err := range map[string]error{
		"BPF_F_RB_OVERWRITE": r.Add(-1, 4096, Overwrite, 0),
		"not a power of 2":   r.Add(-1, 4096+1, 0, 0),
		"size of 0 bytes":    r.Add(-1, 0, 0, 0),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// The short way is for rings whose lengths, with a bit of the header, are behind all ends.
func TestDirectIsForSmallRings(t *testing.T) {
	small, large := &buffer{mask: 1<<29 - 1}, &buffer{mask: 1<<31 - 1}
	for _, tc := range []struct {
		r    *Reader
		want bool
	}{
		{&Reader{rings: []*buffer{small}}, true},
		{&Reader{rings: []*buffer{small, small}}, true},
		{&Reader{rings: []*buffer{small, large}}, false},
		{&Reader{rings: []*buffer{large}, perf: true}, true},
		{&Reader{rings: []*buffer{small}, perf: true, realign: true}, false},
		{&Reader{rings: []*buffer{small}, guard: new(guard)}, false},
	} {
		if tc.r.setDirect(); tc.r.direct.Load() != tc.want {
			t.Errorf("rings %v, perf %t: direct is %t", tc.r.rings, tc.r.perf, !tc.want)
		}
	}
}

// perfRing writes perf records, as the kernel does.
type perfRing struct {
	records  []byte
	producer *uint64
}

// put writes a record with a header, of which size may lie.
func (p *perfRing) put(kind uint32, size uint16, words ...uint32) {
	header := perfHeader{kind: kind, size: size}
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&header)), unsafe.Sizeof(header))
	raw = append(slices.Clone(raw), unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 4*len(words))...)
	for i, b := range raw {
		p.records[(int(*p.producer)+i)%len(p.records)] = b
	}
	*p.producer += uint64(len(raw))
}

// sample writes a sample of words.
func (p *perfRing) sample(words ...uint32) {
	if len(words)%2 == 0 {
		words = append(words, 0) // padding, which the kernel counts as data
	}
	p.put(recordSample, uint16(sampleHeader+4*len(words)), append([]uint32{uint32(4 * len(words))}, words...)...)
}

func newPerf(size int, realign bool) (*Reader, *perfRing) {
	b, records, _, producer := testBuffer(size)
	b.id = 3
	r := &Reader{perf: true, realign: realign, rings: []*buffer{b}, cur: b}
	return r, &perfRing{records, producer}
}

// wordsOf returns a record as words.
func wordsOf(p unsafe.Pointer, n uint32) []uint32 {
	return slices.Clone(unsafe.Slice((*uint32)(p), n/4))
}

// Samples are read where they are, or copied where they go over the end or a CPU wants them
// aligned, many times around.
func TestPerfSamples(t *testing.T) {
	for _, realign := range []bool{false, true} {
		const size = 128
		r, ring := newPerf(size, realign)
		copied := 0
		for i := range uint32(200) {
			want := []uint32{i, i + 1, i + 2}[:1+2*(i%2)]
			ring.sample(want...)
			p, n := r.Next()
			if p == nil {
				t.Fatalf("sample %d is not there: %v", i, r.failed)
			}
			if got := wordsOf(p, n); !slices.Equal(got, want) {
				t.Fatalf("sample %d is %v, want %v", i, got, want)
			}
			if at := uintptr(p) - uintptr(r.cur.data); at >= size {
				copied++
				if uintptr(p)%8 != 0 {
					t.Errorf("the copy of sample %d is not aligned", i)
				}
			}
			if again, m := r.Record(); again != p || m != n {
				t.Errorf("record is %v of %d bytes, want %v of %d", again, m, p, n)
			}
			if r.ID() != 3 {
				t.Errorf("ID is %d", r.ID())
			}
			r.Release()
			if p, _ := r.Record(); p != nil {
				t.Error("a record after Release")
			}
		}
		if p, _ := r.Next(); p != nil || r.failed != nil {
			t.Errorf("a record after the last: %v, %v", p, r.failed)
		}
		if realign && copied != 200 || !realign && (copied == 0 || copied > 100) {
			t.Errorf("realign %t: %d samples of 200 were copied", realign, copied)
		}
	}
}

// What is not a sample, or a damaged one, is an error once, and reading goes on behind it.
func TestPerfRecordsOfOtherKinds(t *testing.T) {
	lost := uint32(77)
	words := []uint32{1, 0, lost, 0} // an ID and a count
	if unsafe.Slice((*byte)(unsafe.Pointer(&lost)), 4)[0] != 77 {
		words = []uint32{0, 1, 0, lost}
	}
	for name, tc := range map[string]struct {
		put  func(*perfRing)
		want string
		// all says that what comes behind is lost, too: nobody knows where it begins.
		all bool
	}{
		"lost":               {func(p *perfRing) { p.put(recordLost, 24, words...) }, "77 records of CPU 3 were lost", false},
		"short lost":         {func(p *perfRing) { p.put(recordLost, 16, 1, 0) }, "unknown record of type 2 and 16 bytes", false},
		"another":            {func(p *perfRing) { p.put(11, 16, 1, 2) }, "unknown record of type 11 and 16 bytes", false},
		"no data":            {func(p *perfRing) { p.put(recordSample, 8) }, "unknown record of type 9 and 8 bytes", false},
		"longer than record": {func(p *perfRing) { p.put(recordSample, 16, 5, 0) }, "a sample of 5 bytes in a record of 16", false},
		"huge length":        {func(p *perfRing) { p.put(recordSample, 16, 1<<32-1, 0) }, "a sample of 4294967295 bytes in a record of 16", false},
		"size 0":             {func(p *perfRing) { p.put(recordSample, 0, 4, 0) }, "a record of 0 bytes, and", true},
		"size beyond end":    {func(p *perfRing) { p.put(recordSample, 64, 52, 0) }, "a record of 64 bytes, and", true},
	} {
		t.Run(name, func(t *testing.T) {
			r, ring := newPerf(128, false)
			// At the end, so that they are copied as well.
			for range 7 {
				ring.sample(0)
				r.Next()
				r.Release()
			}
			tc.put(ring)
			ring.sample(42)
			p, _ := r.Next()
			if p != nil || r.failed == nil || !strings.Contains(r.failed.Error(), tc.want) {
				t.Fatalf("record %v, error %v, want %q", p, r.failed, tc.want)
			}
			var l *Lost
			if errors.As(r.failed, &l) != (name == "lost") {
				t.Errorf("error is %#v", r.failed)
			}
			// Wait returns it, and forgets it.
			failed := r.failed
			if err := r.Wait(); err != failed || r.failed != nil {
				t.Errorf("Wait: %v, and then %v", err, r.failed)
			}
			p, n := r.Next()
			if tc.all {
				if p != nil || r.failed != nil {
					t.Errorf("after it: %v, %v", p, r.failed)
				}
				ring.sample(42)
				p, n = r.Next()
			}
			if p == nil || !slices.Equal(wordsOf(p, n), []uint32{42}) {
				t.Errorf("after it: %v of %d bytes, %v", p, n, r.failed)
			}
		})
	}
}

// Rings are read in turn, each as far as it went when its turn came, and what is there at Mark
// is told from what comes later.
func TestPerfRingsInTurn(t *testing.T) {
	r := &Reader{perf: true}
	var rings []*perfRing
	for id := range 3 {
		b, records, _, producer := testBuffer(256)
		b.id = id
		r.rings = append(r.rings, b)
		rings = append(rings, &perfRing{records, producer})
	}
	r.cur = r.rings[0]
	for i, ring := range rings {
		ring.sample(uint32(10 * i))
		ring.sample(uint32(10*i + 1))
	}
	if !r.anyReady(0) {
		t.Error("nothing is ready")
	}
	r.Mark()
	rings[0].sample(2)
	var got []string
	for {
		p, n := r.Next()
		if p == nil {
			break
		}
		got = append(got, fmt.Sprint(r.ID(), wordsOf(p, n)))
		r.Release()
		if past := r.PastMark(); past != (len(got) >= 6) {
			t.Errorf("after %v, past the mark: %t", got, past)
		}
	}
	want := []string{"0 [0]", "0 [1]", "1 [10]", "1 [11]", "2 [20]", "2 [21]", "0 [2]"}
	if !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
	if r.anyReady(0) {
		t.Error("something is ready after all was read")
	}
}
