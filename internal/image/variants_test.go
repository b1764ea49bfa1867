package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestVariants(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	base := make([]byte, 20_000)
	for i := range base {
		base[i] = byte(random.Uint32())
	}
	edited := bytes.Clone(base)
	copy(edited[5000:], "something else")
	shifted := append(append(bytes.Clone(base[:7001]), "inserted"...), base[7001:]...)
	images := [][]byte{base, edited, shifted, {}, []byte("short"), bytes.Repeat([]byte("0123456789abcdef"), 100), base, base[3000:9000]}
	set := JoinVariants(images)
	if !bytes.Equal(set, JoinVariants(images)) {
		t.Error("the set is not the same the second time")
	}
	for i, want := range images {
		got, err := Variant(string(set), i)
		if err != nil || got != string(want) {
			t.Errorf("image %d: got %d bytes of %d: %v", i, len(got), len(want), err)
		}
	}
	if len(set) > len(base)+2000 {
		t.Errorf("the set has %d bytes, and one image has %d", len(set), len(base))
	}
	for _, index := range []int{-1, len(images), 1 << 40} {
		if _, err := Variant(string(set), index); err == nil || errors.Is(err, ErrDamaged) {
			t.Errorf("image %d: got %v", index, err)
		}
	}
}

// One instruction more, of many, is little more in the set, in either byte order.
func TestVariantsOfTables(t *testing.T) {
	object := func(more uint32) *Object {
		o := full()
		const n = 3000
		o.Code = append(o.Code, code(n, nil, nil)...)
		o.Functions[1].Count += n
		var lines []LineInfo
		for i := range uint32(n / 3) {
			at := 9 + 3*i
			if i > 500 {
				at += more
			}
			lines = append(lines, LineInfo{Instruction: at, File: 1, Line: 7 * (i % 100), Column: i << 10})
		}
		o.LineInfo = NewTable(lines)
		return o
	}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		var images [][]byte
		for more := range uint32(3) {
			image, err := Encode(object(more), order)
			if err != nil {
				t.Fatal(err)
			}
			images = append(images, image)
		}
		set := JoinVariants(images)
		for i, want := range images {
			if got, err := Variant(string(set), i); err != nil || got != string(want) {
				t.Errorf("%v: image %d is another: %v", order, i, err)
			}
		}
		if len(set) > len(images[0])+3000 {
			t.Errorf("%v: the set has %d bytes, and one image has %d", order, len(set), len(images[0]))
		}
	}
}

// A damaged set gives an error, or an image that its own checksums refuse: no panic, and no
// more memory than its pieces take.
func TestDamagedVariants(t *testing.T) {
	set := JoinVariants([][]byte{bytes.Repeat([]byte("a part of an image, "), 5), []byte("another one"), bytes.Repeat([]byte("a part of an image, "), 7)})
	for i := range set {
		bad := false
		for index := range 3 {
			_, err := Variant(string(set[:i]), index)
			bad = bad || err != nil
		}
		if !bad {
			t.Errorf("no error for %d bytes of %d", i, len(set))
		}
		for _, b := range []byte{0, 0x7f, 0x80, 0xff} {
			wrong := bytes.Clone(set)
			wrong[i] = b
			for index := range 3 {
				_, _ = Variant(string(wrong), index)
			}
		}
	}
	for _, wrong := range []string{"", "BPFimgs1", "BPFimgs2\x01\x00\x00", "BPFimgs1\x01\x05\x02\x00\x09", "BPFimgs1\x01\x05\x01\x00", "BPFimgs1\x01\xff\xff\xff\xff\xff\x00"} {
		if _, err := Variant(wrong, 0); !errors.Is(err, ErrDamaged) {
			t.Errorf("%q: got %v", wrong, err)
		}
	}
}

func BenchmarkVariant(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	var images [][]byte
	base := make([]byte, 100_000)
	for i := range base {
		base[i] = byte(random.Uint32())
	}
	for i := range 50 {
		image := bytes.Clone(base)
		for j := range 200 {
			copy(image[j*500:], fmt.Sprintf("variant %d", i))
		}
		images = append(images, image)
	}
	set := string(JoinVariants(images))
	b.ReportMetric(float64(len(set)), "set-bytes")
	for b.Loop() {
		if _, err := Variant(set, 49); err != nil {
			b.Fatal(err)
		}
	}
}
