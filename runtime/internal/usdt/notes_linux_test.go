package usdt

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"testing"

	"github.com/rules-bpf/rules_bpf/runtime/internal/usersym"
)

// stapNote returns a note with a descriptor of these words and this text.
func stapNote(name string, typ uint32, text string, words ...uint64) []byte {
	var desc, b bytes.Buffer
	_ = binary.Write(&desc, binary.LittleEndian, words)
	desc.WriteString(text)
	_ = binary.Write(&b, binary.LittleEndian, []uint32{uint32(len(name)), uint32(desc.Len()), typ})
	b.WriteString(name)
	b.Write(make([]byte, -len(name)&3))
	b.Write(desc.Bytes())
	b.Write(make([]byte, -desc.Len()&3))
	return b.Bytes()
}

func TestNotes(t *testing.T) {
	f := &usersym.File{File: &elf.File{FileHeader: elf.FileHeader{Class: elf.ELFCLASS64, ByteOrder: binary.LittleEndian}}}
	data := stapNote("stapsdt\x00", 3, "lib\x00probe\x004@%eax\x00", 0x1000, 0x500, 0x2000)
	name, desc, typ, rest, err := cutNote(f, append(data, 1, 2))
	if err != nil || name != "stapsdt" || typ != 3 || len(rest) != 2 {
		t.Fatalf("%q, %d, %v, %v", name, typ, rest, err)
	}
	for base, want := range map[uint64]note{
		0:      {"lib", "probe", "4@%eax", 0x1000, 0x2000},
		0x500:  {"lib", "probe", "4@%eax", 0x1000, 0x2000},
		0x1500: {"lib", "probe", "4@%eax", 0x2000, 0x3000},
	} {
		if got, err := parseNote(f, desc, base); err != nil || got != want {
			t.Errorf("base %#x: %+v, %v, want %+v", base, got, err, want)
		}
	}
	for i := range data {
		if i == 0 {
			continue
		}
		if _, _, _, _, err := cutNote(f, data[:i]); err == nil && i < len(data)-3 {
			t.Errorf("%d bytes of the note are a note", i)
		}
	}
	if _, err := parseNote(f, desc[:len(desc)-1], 0); err == nil {
		t.Error("a note whose text does not end is a note")
	}
}

func FuzzNotes(f *testing.F) {
	f.Add(stapNote("stapsdt\x00", 3, "lib\x00probe\x004@%eax\x00", 0x1000, 0x500, 0x2000))
	f.Add(stapNote("GNU\x00", 1, "", 1))
	f.Fuzz(func(_ *testing.T, data []byte) {
		file := &usersym.File{File: &elf.File{FileHeader: elf.FileHeader{Class: elf.ELFCLASS64, ByteOrder: binary.LittleEndian}}}
		for len(data) > 0 {
			_, desc, _, rest, err := cutNote(file, data)
			if err != nil {
				return
			}
			_, _ = parseNote(file, desc, 1)
			data = rest
		}
	})
}
