// Package runfiles finds the files that Bazel has made for an executable, by their paths
// among its runfiles, which begin with the canonical name of a repository.
//
// rules_go has a package for that, with the names that repositories have for each other on
// top. Paths that a rule writes need no such names, and to require rules_go would put it, and
// all that it requires, into the graphs of the modules that depend on this one.
package runfiles

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Files are the runfiles of this process.
type Files struct {
	// dir is the directory that has them, empty when there is a manifest.
	dir string
	// manifest has the paths of files and directories by those among the runfiles.
	manifest map[string]string
}

// New finds the runfiles as Bazel's own libraries do: the variables RUNFILES_MANIFEST_FILE and
// RUNFILES_DIR say where, and without them, what is beside the executable.
func New() (*Files, error) {
	if file := os.Getenv("RUNFILES_MANIFEST_FILE"); file != "" {
		return read(file)
	}
	if dir := os.Getenv("RUNFILES_DIR"); dir != "" {
		return &Files{dir: dir}, nil
	}
	self := os.Args[0]
	if info, err := os.Stat(self + ".runfiles"); err == nil && info.IsDir() {
		return &Files{dir: self + ".runfiles"}, nil
	}
	f, err := read(self + ".runfiles_manifest")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: has no runfiles: neither RUNFILES_DIR nor RUNFILES_MANIFEST_FILE is set, and there is no %[1]s.runfiles: run it with bazel test", self)
	}
	return f, err
}

func read(file string) (*Files, error) {
	data, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer data.Close()
	f := &Files{manifest: make(map[string]string)}
	lines := bufio.NewScanner(data)
	for lines.Scan() {
		line, escaped := strings.CutPrefix(lines.Text(), " ")
		name, target, _ := strings.Cut(line, " ")
		if escaped {
			name, target = unescape.Replace(name), unescapeTarget.Replace(target)
		}
		f.manifest[name] = target
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return f, nil
}

// Since Bazel 7.4, a line that begins with a space has characters of names written otherwise.
var (
	unescape       = strings.NewReplacer(`\s`, " ", `\n`, "\n", `\b`, `\`)
	unescapeTarget = strings.NewReplacer(`\n`, "\n", `\b`, `\`)
)

// Path returns the path of a file or directory. With a directory of runfiles, it is not checked
// whether the file exists. An error says that the manifest does not have it.
func (f *Files) Path(name string) (string, error) {
	name = path.Clean(name)
	if f.manifest == nil {
		return filepath.Join(f.dir, filepath.FromSlash(name)), nil
	}
	// What is in a directory has no line of its own.
	for dir := name; dir != "."; dir = path.Dir(dir) {
		if target, ok := f.manifest[dir]; ok && (target != "" || dir == name) {
			return filepath.Join(target, filepath.FromSlash(strings.TrimPrefix(name, dir))), nil
		}
	}
	return "", fmt.Errorf("%s: is not among the runfiles", name)
}
