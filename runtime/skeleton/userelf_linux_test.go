package skeleton

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestGlob(t *testing.T) {
	for _, tc := range []struct {
		glob, s string
		want    bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "abc", true}, {"a*", "abc", true}, {"a*", "bac", false},
		{"*c", "abc", true}, {"*c", "abcd", false}, {"a*c", "ac", true}, {"a*c", "abcbc", true}, {"a?c", "abc", true}, {"a?c", "ac", false},
		{"*a*b*", "xxaxxbxx", true}, {"*a*b*", "xxbxxaxx", false}, {"a**b", "ab", true}, {"???", "abc", true}, {"???", "ab", false},
		{"tcp_*_sk*b", "tcp_v4_send_skb", true}, {strings.Repeat("*a", 50) + "b", strings.Repeat("a", 1000), false},
	} {
		if got := glob(tc.glob).match(tc.s); got != tc.want {
			t.Errorf("%q matches %q: %v, want %v", tc.glob, tc.s, got, tc.want)
		}
	}
}

func TestFindFile(t *testing.T) {
	programs, libraries := t.TempDir(), t.TempDir()
	write := func(path string, mode os.FileMode) string {
		t.Helper()
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tool := write(filepath.Join(programs, "a-tool"), 0o755)
	lib := write(filepath.Join(libraries, "libfound.so.6"), 0o644)
	t.Setenv("PATH", ":/no/such/folder:"+programs)
	t.Setenv("LD_LIBRARY_PATH", libraries)
	for name, want := range map[string]string{
		"a-tool": tool, "libfound.so.6": lib, "/as/it/is": "/as/it/is", "./here": "./here", "below/this": "below/this",
	} {
		if got, err := findFile(name); err != nil || got != want {
			t.Errorf("findFile(%q) = %q, %v, want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"libfound.so.7", "a-library.so", "no-tool"} {
		if got, err := findFile(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("findFile(%q) = %q, %v, want an error that it does not exist", name, got, err)
		}
	}
}

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

func TestUSDTNotes(t *testing.T) {
	f := &userELF{File: &elf.File{FileHeader: elf.FileHeader{Class: elf.ELFCLASS64, ByteOrder: binary.LittleEndian}}}
	note := stapNote("stapsdt\x00", 3, "lib\x00probe\x004@%eax\x00", 0x1000, 0x500, 0x2000)
	name, desc, typ, rest, err := f.cutNote(append(note, 1, 2))
	if err != nil || name != "stapsdt" || typ != 3 || len(rest) != 2 {
		t.Fatalf("%q, %d, %v, %v", name, typ, rest, err)
	}
	for base, want := range map[uint64]usdtNote{
		0:      {"lib", "probe", "4@%eax", 0x1000, 0x2000},
		0x500:  {"lib", "probe", "4@%eax", 0x1000, 0x2000},
		0x1500: {"lib", "probe", "4@%eax", 0x2000, 0x3000},
	} {
		if got, err := f.parseUSDTNote(desc, base); err != nil || got != want {
			t.Errorf("base %#x: %+v, %v, want %+v", base, got, err, want)
		}
	}
	for i := range note {
		if i == 0 {
			continue
		}
		if _, _, _, _, err := f.cutNote(note[:i]); err == nil && i < len(note)-3 {
			t.Errorf("%d bytes of the note are a note", i)
		}
	}
	if _, err := f.parseUSDTNote(desc[:len(desc)-1], 0); err == nil {
		t.Error("a note whose text does not end is a note")
	}
}

func FuzzUSDTNotes(f *testing.F) {
	f.Add(stapNote("stapsdt\x00", 3, "lib\x00probe\x004@%eax\x00", 0x1000, 0x500, 0x2000))
	f.Add(stapNote("GNU\x00", 1, "", 1))
	f.Fuzz(func(_ *testing.T, data []byte) {
		file := &userELF{File: &elf.File{FileHeader: elf.FileHeader{Class: elf.ELFCLASS64, ByteOrder: binary.LittleEndian}}}
		for len(data) > 0 {
			_, desc, _, rest, err := file.cutNote(data)
			if err != nil {
				return
			}
			_, _ = file.parseUSDTNote(desc, 1)
			data = rest
		}
	})
}
