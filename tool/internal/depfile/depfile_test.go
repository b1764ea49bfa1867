package depfile

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name string
		file string
		want []string
	}{
		{"empty", "", nil},
		{"blank lines", "\n  \n\t\n", nil},
		{"no dependencies", "a.o:\n", nil},
		{"one", "a.o: a.c\n", []string{"a.c"}},
		{"no end of line", "a.o: a.c", []string{"a.c"}},
		{"several", "a.o: a.c b.h\tc.h\n", []string{"a.c", "b.h", "c.h"}},
		{"continued", "a.o: a.c \\\n  b.h \\\n  c.h\n", []string{"a.c", "b.h", "c.h"}},
		{"continued without a space", "a.o: a.c\\\nb.h\n", []string{"a.c", "b.h"}},
		{"continued to the end", "a.o: a.c \\\n", []string{"a.c"}},
		{"continued to the end of the file", "a.o: a.c \\", []string{"a.c", "\\"}},
		{"target on a line of its own", "a.o: \\\n  a.c\n", []string{"a.c"}},
		{"carriage returns", "a.o: a.c \\\r\n  b.h\r\n", []string{"a.c", "b.h"}},
		{"space in a name", `a.o: a\ b.c c.h`, []string{"a b.c", "c.h"}},
		{"spaces in a name", `a.o: a\ \ b.c`, []string{"a  b.c"}},
		{"tab in a name", "a.o: a\\\tb.c", []string{"a\tb.c"}},
		{"space in the target", `a\ b.o: a.c`, []string{"a.c"}},
		{"space at the end of a name", "a.o: a\\ \n", []string{"a "}},
		{"backslash and space in a name", `a.o: a\\\ b.c`, []string{`a\ b.c`}},
		{"backslash at the end of a name", `a.o: a\\ b.c`, []string{`a\`, "b.c"}},
		{"backslashes elsewhere", `a.o: a\\b.c`, []string{`a\\b.c`}},
		{"backslash before a continuation", "a.o: a\\\\\n b", []string{`a\`, "b"}},
		{"dollar", "a.o: a$$b.c", []string{"a$b.c"}},
		{"dollars", "a.o: a$$$$b.c", []string{"a$$b.c"}},
		{"single dollar", "a.o: a$b.c $", []string{"a$b.c", "$"}},
		{"hash", `a.o: a\#b.c`, []string{"a#b.c"}},
		{"bare hash", `a.o: a#b.c`, []string{"a#b.c"}},
		{"backslash and hash", `a.o: a\\#b.c`, []string{`a\#b.c`}},
		{"colon in a name", "a.o: a:b.c", []string{"a:b.c"}},
		{"colon at the end of a name", "a.o: b: c", []string{"b:", "c"}},
		{"paths of Windows", `C:\out\a.o: C:\src\a.c D:\include\b.h`, []string{`C:\src\a.c`, `D:\include\b.h`}},
		{"several targets", "a.o b.o: a.c", []string{"a.c"}},
		{"several rules", "a.o: a.c b.h\nb.h:\n\nc.o: c.c\n", []string{"a.c", "b.h", "c.c"}},
		{"UTF-8", "a.o: größe.h 长度.h", []string{"größe.h", "长度.h"}},
		{"not UTF-8", "a.o: a\xff.h", []string{"a\xff.h"}},
		{
			"what clang writes",
			"x.o: src/minimal.bpf.c \\\n  /usr/include/linux/bpf.h external/libbpf+/src/bpf_helpers.h \\\n  sp\\ ace/un$$ed.h\n",
			[]string{"src/minimal.bpf.c", "/usr/include/linux/bpf.h", "external/libbpf+/src/bpf_helpers.h", "sp ace/un$ed.h"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse([]byte(tt.file))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for _, file := range []string{"a.c b.h", "a.o: a.c\nb.h\n", "a.o:a.c", ":a"} {
		if deps, err := Parse([]byte(file)); err == nil {
			t.Errorf("Parse(%q) = %q, want an error", file, deps)
		}
	}
}

func TestUnused(t *testing.T) {
	dir, err := filepath.Abs("work")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		inputs []string
		deps   []string
		want   []string
	}{
		{"nothing", nil, nil, nil},
		{"all unused", []string{"a.h", "b.h"}, nil, []string{"a.h", "b.h"}},
		{"all used", []string{"a.h", "b.h"}, []string{"main.c", "b.h", "a.h"}, nil},
		{"some", []string{"c.h", "a.h", "b.h"}, []string{"main.c", "a.h"}, []string{"c.h", "b.h"}},
		{"spelled otherwise", []string{"lib/a.h", "./b.h", "c//d.h"}, []string{"./lib/a.h", "x/../b.h", "c/./d.h"}, nil},
		{"kept as spelled", []string{"./a.h", "x/../b.h"}, nil, []string{"./a.h", "x/../b.h"}},
		{"same name elsewhere", []string{"x/a.h", "a.h"}, []string{"y/a.h"}, []string{"x/a.h", "a.h"}},
		{"absolute", []string{"lib/a.h", "lib/b.h"}, []string{filepath.Join(dir, "lib", "a.h")}, []string{"lib/b.h"}},
		{"absolute elsewhere", []string{"lib/a.h"}, []string{filepath.Join(filepath.Dir(dir), "lib", "a.h")}, []string{"lib/a.h"}},
		{"absolute input", []string{filepath.Join(dir, "a.h"), "/usr/include/b.h"}, []string{"a.h", "/usr/include/b.h"}, nil},
		{"outside", []string{"../a.h", "../b.h"}, []string{"../a.h"}, []string{"../b.h"}},
		{"directory", []string{"include", "other"}, []string{"include/linux/bpf.h"}, []string{"other"}},
		{"not a directory", []string{"inc", "include/linux/bpf"}, []string{"include/linux/bpf.h"}, []string{"inc", "include/linux/bpf"}},
		{"case", []string{"Lib/A.h"}, []string{"lib/a.H"}, nil},
		{"twice", []string{"a.h", "a.h"}, []string{"b.h"}, []string{"a.h", "a.h"}},
		{"path mapping", []string{"bazel-out/cfg/bin/a.h", "bazel-out/cfg/bin/b.h"}, []string{"bazel-out/cfg/bin/b.h"}, []string{"bazel-out/cfg/bin/a.h"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Unused(tt.inputs, tt.deps, dir); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// escape writes a name the way clang does.
func escape(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		switch name[i] {
		case ' ':
			for j := i; j > 0 && name[j-1] == '\\'; j-- {
				b.WriteByte('\\')
			}
			b.WriteByte('\\')
		case '#':
			b.WriteByte('\\')
		case '$':
			b.WriteByte('$')
		}
		b.WriteByte(name[i])
	}
	return b.String()
}

func FuzzDepfile(f *testing.F) {
	f.Add("a.o: a.c \\\n b.h\n", "a b.h")
	f.Add(`C:\a.o: C:\b\ c.h`, `C:\dir with\\ spaces\$x#.h`)
	f.Add("a.o: $$ \\# \\\\\\ x\nb.h:\n", "größe.h")
	f.Fuzz(func(t *testing.T, file, name string) {
		deps, err := Parse([]byte(file))
		if err == nil {
			for _, dep := range deps {
				if dep == "" {
					t.Errorf("Parse(%q) has an empty name", file)
				}
			}
			// What is read is never unused.
			if unused := Unused(deps, deps, "/work"); unused != nil {
				t.Errorf("%q are unused", unused)
			}
		}

		// A name comes back as it was. Those that clang itself cannot write are left
		// out: ends of lines and tabs, and backslashes before what they would hide.
		if name == "" || strings.ContainsAny(name, "\n\r\t") || strings.HasSuffix(name, `\`) || strings.Contains(name, `\#`) {
			return
		}
		deps, err = Parse([]byte("a.o: before.c \\\n  " + escape(name) + " after.h\n"))
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"before.c", name, "after.h"}; !slices.Equal(deps, want) {
			t.Errorf("got %q, want %q", deps, want)
		}
	})
}

func TestEscape(t *testing.T) {
	for _, path := range []string{"a.h", "with space.h", `back\slash.h`, `both\ space.h`, `two\\ space`, "tab\t.h", "a#b.h", "$(x).h"} {
		escaped, err := Escape(path)
		if err != nil {
			t.Errorf("%q: %v", path, err)
			continue
		}
		if deps, err := Parse([]byte("x.o: " + escaped + " b.h\n")); err != nil || len(deps) != 2 || deps[0] != path {
			t.Errorf("%q is %q, which is read as %q, %v", path, escaped, deps, err)
		}
	}
	if got, err := Escape("a\nb"); err == nil {
		t.Errorf("a line's end is %q, want an error", got)
	}
}
