// Package objects_test looks into the files that bpf_skeleton makes for several
// platforms.
package objects_test

import (
	"bytes"
	"debug/elf"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

// outputs returns the object and the Go file for a platform.
func outputs(t *testing.T, platform string) (object, source []byte) {
	t.Helper()
	for _, name := range strings.Fields(os.Getenv(platform)) {
		path, err := runfiles.Rlocation(name)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasSuffix(name, ".o"):
			object = data
		case strings.HasSuffix(name, ".go"):
			source = data
		}
	}
	if object == nil || source == nil {
		t.Fatalf("%s: object and Go file are not among %q", platform, os.Getenv(platform))
	}
	return object, source
}

// sectionData returns a section's contents, as the linker would see them.
func sectionData(t *testing.T, f *elf.File, name string) []byte {
	t.Helper()
	s := f.Section(name)
	if s == nil {
		t.Fatalf("no section %s", name)
	}
	data, err := s.Data()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestPlatform(t *testing.T) {
	for _, tc := range []struct {
		platform, arch string
		order          elf.Data
		number         []byte
	}{
		{"linux_amd64", "x86", elf.ELFDATA2LSB, []byte{4, 3, 2, 1}},
		{"linux_arm64", "arm64", elf.ELFDATA2LSB, []byte{4, 3, 2, 1}},
		{"linux_riscv64", "riscv", elf.ELFDATA2LSB, []byte{4, 3, 2, 1}},
		{"linux_s390x", "s390", elf.ELFDATA2MSB, []byte{1, 2, 3, 4}},
	} {
		t.Run(tc.platform, func(t *testing.T) {
			object, source := outputs(t, tc.platform)
			f, err := elf.NewFile(bytes.NewReader(object))
			if err != nil {
				t.Fatal(err)
			}
			if f.Machine != elf.EM_BPF || f.Data != tc.order {
				t.Errorf("object is %s %s", f.Machine, f.Data)
			}
			if got := string(sectionData(t, f, ".rodata")); !strings.Contains(got, "arch="+tc.arch+";") {
				t.Errorf(".rodata holds %q, want arch=%s", got, tc.arch)
			}
			if got := sectionData(t, f, ".data"); !bytes.Equal(got, tc.number) {
				t.Errorf(".data holds %v, want %v", got, tc.number)
			}
			if _, err := parser.ParseFile(token.NewFileSet(), "skeleton.go", source, 0); err != nil {
				t.Error(err)
			}
			if !bytes.Contains(source, []byte("arch="+tc.arch+";")) {
				t.Error("the Go file holds another object")
			}
		})
	}
}

// No path of the machine that compiled is in the files: they are the same from
// every directory, and say nothing of whose machine it was.
func TestNoAbsolutePaths(t *testing.T) {
	// A long constant of the Go file is in pieces.
	pieces := regexp.MustCompile(`" \+\s+"`)
	absolute := regexp.MustCompile(`(^|[^A-Za-z0-9_.~+-])/[A-Za-z0-9_.-]+/[A-Za-z0-9_./-]+`)
	for _, platform := range []string{"linux_amd64", "linux_s390x"} {
		object, source := outputs(t, platform)
		// A line of the image may end within a path.
		source = bytes.ReplaceAll(source, []byte("\" +\n\t\""), nil)
		for name, data := range map[string][]byte{"object": object, "Go file": source} {
			for _, line := range bytes.FieldsFunc(pieces.ReplaceAll(data, nil), func(r rune) bool { return r == 0 || r == '\n' }) {
				// A comment's "// text" and the like have no directory in them.
				if m := absolute.Find(line); m != nil {
					t.Errorf("%s for %s holds the path %q", name, platform, m)
				}
			}
		}
	}
}
