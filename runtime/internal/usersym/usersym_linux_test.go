package usersym

import (
	"debug/elf"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
	t.Setenv("PATH", ":/no/such/directory:"+programs)
	t.Setenv("LD_LIBRARY_PATH", libraries)
	for name, want := range map[string]string{
		"a-tool": tool, "libfound.so.6": lib, "/as/it/is": "/as/it/is", "./here": "./here", "below/this": "below/this",
	} {
		if got, err := FindFile(name); err != nil || got != want {
			t.Errorf("FindFile(%q) = %q, %v, want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"libfound.so.7", "a-library.so", "no-tool"} {
		if got, err := FindFile(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("FindFile(%q) = %q, %v, want an error that it does not exist", name, got, err)
		}
	}
}

func TestOpen(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{text: "is not a program or a library in ELF format", "": "the path is empty"} {
		if _, err := Open(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v does not contain %q", name, err, want)
		}
	}
	if _, err := Open("/no/such/file"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestFileOffset(t *testing.T) {
	f := &File{File: &elf.File{Progs: []*elf.Prog{
		{ProgHeader: elf.ProgHeader{Type: elf.PT_NOTE, Vaddr: 0x1000, Memsz: 0x5000}},
		{ProgHeader: elf.ProgHeader{Type: elf.PT_LOAD, Flags: elf.PF_R | elf.PF_X, Off: 0x100, Vaddr: 0x1100, Filesz: 0x200, Memsz: 0x200}},
		{ProgHeader: elf.ProgHeader{Type: elf.PT_LOAD, Flags: elf.PF_R | elf.PF_W, Off: 0x300, Vaddr: 0x2300, Filesz: 0x10, Memsz: 0x40}},
	}}, Path: "file"}
	for addr, want := range map[uint64]uint64{0x1100: 0x100, 0x12ff: 0x2ff, 0x2300: 0x300, 0x233f: 0x33f} {
		if offset, _, ok := f.FileOffset(addr); !ok || offset != want {
			t.Errorf("address %#x: %#x, %v, want %#x", addr, offset, ok, want)
		}
	}
	for _, addr := range []uint64{0, 0x10ff, 0x1300, 0x2340} {
		if offset, _, ok := f.FileOffset(addr); ok {
			t.Errorf("address %#x is at %#x", addr, offset)
		}
	}
	// A number is an offset, of code.
	if offset, _, err := f.Address("0x2f0"); err != nil || offset != 0x2f0 {
		t.Errorf("%#x, %v", offset, err)
	}
	if _, _, err := f.Address("0x300"); err == nil || !strings.Contains(err.Error(), "file: has no code at offset 0x300") {
		t.Errorf("an offset of data: %v", err)
	}
}

// Of functions with one name, the one that the dynamic linker would take first counts.
func TestRank(t *testing.T) {
	global, weak, local := elf.ST_INFO(elf.STB_GLOBAL, elf.STT_FUNC), elf.ST_INFO(elf.STB_WEAK, elf.STT_FUNC), elf.ST_INFO(elf.STB_LOCAL, elf.STT_FUNC)
	hidden := elf.VersionIndex(0x8002)
	order := []elf.Symbol{
		{Info: local, HasVersion: true, VersionIndex: hidden},
		{Info: global, HasVersion: true, VersionIndex: hidden},
		{Info: weak},
		{Info: global},
		{Info: global, HasVersion: true, VersionIndex: 2},
	}
	for i := 1; i < len(order); i++ {
		if rank(&order[i-1]) >= rank(&order[i]) {
			t.Errorf("symbol %d counts no more than the one before", i)
		}
	}
	versioned := &elf.Symbol{Name: "f", HasVersion: true, Version: "V_1"}
	for name, want := range map[string]bool{"f": true, "f@V_1": true, "f@@V_1": true, "f@V_2": false, "g": false, "g@V_1": false} {
		if got := namedBy(versioned, name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
