package kmod

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
)

// module returns an ELF file with nothing but a section .modinfo.
func module(depends string) []byte {
	info := "license=GPL\x00depends=" + depends + "\x00name=x\x00"
	names := "\x00.modinfo\x00.shstrtab\x00"
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9))
	put := func(values ...any) {
		for _, v := range values {
			_ = binary.Write(&b, binary.LittleEndian, v)
		}
	}
	sections := uint64(64 + len(info) + len(names))
	put(uint16(1), uint16(62), uint32(1), uint64(0), uint64(0), sections, uint32(0), uint16(64), uint16(0), uint16(0), uint16(64), uint16(3), uint16(2))
	b.WriteString(info + names)
	section := func(name, kind uint32, off, size int) {
		put(name, kind, uint64(0), uint64(0), uint64(off), uint64(size), uint32(0), uint32(0), uint64(1), uint64(0))
	}
	section(0, 0, 0, 0)
	section(1, 1, 64, len(info))
	section(10, 3, 64+len(info), len(names))
	return b.Bytes()
}

func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestClosure(t *testing.T) {
	dir := t.TempDir()
	var gz, xzd bytes.Buffer
	gw := gzip.NewWriter(&gz)
	_, _ = gw.Write(module("base_one,built_in"))
	gw.Close()
	xw, err := xz.NewWriter(&xzd)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = xw.Write(module(""))
	xw.Close()
	files := []string{
		write(t, dir, "top.ko", module("middle,base-one")),
		write(t, dir, "middle.ko.gz", gz.Bytes()),
		write(t, dir, "base-one.ko.xz", xzd.Bytes()),
		write(t, dir, "other.ko", module("")),
		write(t, dir, "builtin_too.ko.zst", nil),
		write(t, dir, "loop1.ko", module("loop2")),
		write(t, dir, "loop2.ko", module("loop1")),
		write(t, dir, "orphan.ko", module("missing")),
		write(t, dir, "damaged.ko", []byte("no module")),
		write(t, dir, "modules.builtin", []byte("kernel/lib/built-in.ko\n")),
		write(t, dir, "modules.order", nil),
	}
	for _, tc := range []struct{ names, want, err string }{
		{"top", "base_one middle top", ""},
		{"base-one,top", "base_one middle top", ""},
		{"built_in", "", ""},
		{"other,other", "other", ""},
		{"nope", "", `no module "nope"`},
		{"orphan", "", `no module "missing", which orphan needs`},
		{"loop1", "", "loop1 -> loop2 -> loop1"},
		{"damaged", "", "damaged.ko: not a kernel module"},
		{"builtin_too", "", "end in .zst cannot be read"},
	} {
		list, err := Closure(files, strings.Split(tc.names, ","))
		var names []string
		for _, m := range list {
			names = append(names, m.Name)
			if !bytes.HasPrefix(m.Data, []byte("\x7fELF")) {
				t.Errorf("%s: %s is not decompressed", tc.names, m.Name)
			}
		}
		if got := strings.Join(names, " "); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.names, got, tc.want)
		}
		if (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: error %v, want %q", tc.names, err, tc.err)
		}
	}
}
