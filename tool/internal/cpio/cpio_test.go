package cpio

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
)

// list reads an archive: "name mode content" of each entry.
func list(t *testing.T, data []byte) []string {
	t.Helper()
	var entries []string
	for off := 0; ; {
		header := string(data[off : off+110])
		if !strings.HasPrefix(header, "070701") {
			t.Fatalf("no header at %d: %q", off, header)
		}
		field := func(i int) int {
			v, err := strconv.ParseUint(header[6+8*i:14+8*i], 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			return int(v)
		}
		name := string(data[off+110 : off+110+field(11)-1])
		off = (off + 110 + field(11) + 3) &^ 3
		if name == trailer {
			if off != len(data) {
				t.Errorf("%d bytes after the end", len(data)-off)
			}
			return entries
		}
		content := string(data[off : off+field(6)])
		off = (off + field(6) + 3) &^ 3
		entries = append(entries, strings.Join([]string{name, strconv.FormatInt(int64(field(1)), 8), content}, " "))
	}
}

func TestWriter(t *testing.T) {
	var buf bytes.Buffer
	w := NewWriter(&buf)
	for _, err := range []error{
		w.File("/init", 0o755, 3, strings.NewReader("abc")),
		w.File("a/b/c", 0o4644, 0, strings.NewReader("")),
		w.Dir("a/b"),
		w.File("../a/../a/d", 0o600, 5, strings.NewReader("12345")),
		w.Symlink("a/link", "b/c"),
		w.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	got := strings.Join(list(t, buf.Bytes()), "\n")
	want := "init 100755 abc\na 40755 \na/b 40755 \na/b/c 100644 \na/d 100600 12345\na/link 120777 b/c"
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestErrors(t *testing.T) {
	w := NewWriter(&bytes.Buffer{})
	for name, err := range map[string]error{
		"ends an archive": w.File("TRAILER!!!", 0, 0, strings.NewReader("")),
		"zero byte":       w.Dir("a\x00b"),
		"4 GB":            w.File("large", 0, 1<<32, strings.NewReader("")),
		"a moment ago":    w.File("short", 0, 5, strings.NewReader("abc")),
	} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v does not contain %q", err, name)
		}
	}
}
