// Package paths has what the language does with slash-separated paths of a
// repository, and with the names of files.
package paths

import (
	"path"
	"path/filepath"
	"strings"
)

// The suffixes of BPF's own files.
const (
	SourceSuffix = ".bpf.c"
	HeaderSuffix = ".bpf.h"
)

// IsHeader reports whether a file is a header by its name alone. Files with other
// names are headers where a file includes them.
func IsHeader(name string) bool { return strings.HasSuffix(name, ".h") }

// IsBPF reports whether a file is BPF's by its name alone.
func IsBPF(name string) bool {
	return strings.HasSuffix(name, SourceSuffix) || strings.HasSuffix(name, HeaderSuffix)
}

// Stem is a file's name without what its kind adds.
func Stem(name string) string {
	for _, suffix := range []string{SourceSuffix, HeaderSuffix, ".c", ".h"} {
		if s, ok := strings.CutSuffix(name, suffix); ok && s != "" {
			return s
		}
	}
	return name
}

// Parent returns the directory of a path, and "" for one of the root.
func Parent(rel string) string {
	if dir := path.Dir(rel); dir != "." && dir != "/" {
		return dir
	}
	return ""
}

// Join is path.Join for a clean directory, which is faster where the name is clean, too.
func Join(dir, name string) string {
	if path.Clean(name) != name || strings.HasPrefix(name, ".") {
		return path.Join(dir, name)
	}
	if dir == "" || dir == "." {
		return name
	}
	return dir + "/" + name
}

// Under returns a path relative to a directory that has it.
func Under(rel, file string) (string, bool) {
	if rel == "" {
		return file, true
	}
	return strings.CutPrefix(file, rel+"/")
}

// IsWithin reports whether a directory is another one or below it.
func IsWithin(rel, dir string) bool {
	_, ok := Under(rel, dir)
	return ok || rel == dir
}

// Outside reports whether a clean path leads out of the repository.
func Outside(name string) bool { return name == ".." || strings.HasPrefix(name, "../") }

// Relative returns the path that leads from one directory to another.
func Relative(from, to string) string {
	rel, err := filepath.Rel("/"+from, "/"+to)
	if err != nil {
		return to
	}
	return filepath.ToSlash(rel)
}

// OrRoot returns a directory as messages name it.
func OrRoot(rel string) string {
	if rel == "" {
		return "the root"
	}
	return rel
}
