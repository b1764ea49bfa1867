// Package bpftool finds bpftool for tests that compare with it. Nothing that is
// built needs it.
package bpftool

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// minMajor and minMinor are of the first version to compare with: 7.8 has the sizes of
// all types right, writes kfuncs and knows .bss.NAME, which older ones do not.
const (
	minMajor = 7
	minMinor = 8
)

// Command returns a function that makes commands of bpftool from its arguments,
// and bpftool's version. It skips t when there is no bpftool, or only an older one than
// can be compared with.
//
// It is the one of the root directory that bazelw has set up last, which is recent,
// or else the one on PATH.
func Command(t testing.TB) (command func(args ...string) *exec.Cmd, version string) {
	t.Helper()
	argv := find()
	if argv == nil {
		t.Skip("needs bpftool, on PATH or in the root directory of bazelw")
	}
	command = func(args ...string) *exec.Cmd {
		return exec.Command(argv[0], append(argv[1:len(argv):len(argv)], args...)...)
	}
	out, err := command("version").Output()
	if err != nil {
		t.Skipf("needs bpftool, and %s does not run: %v", strings.Join(argv, " "), err)
	}
	version, _, _ = strings.Cut(string(out), "\n")
	major, minor, ok := parseVersion(version)
	if !ok {
		t.Fatalf("%s: version %q is not understood", strings.Join(argv, " "), version)
	}
	if major < minMajor || major == minMajor && minor < minMinor {
		t.Skipf("needs bpftool %d.%d or newer, and this is %s", minMajor, minMinor, version)
	}
	return command, version
}

// parseVersion reads "bpftool v7.8.0", which some distributions write with the path of
// the program.
func parseVersion(line string) (major, minor int, ok bool) {
	_, number, _ := strings.Cut(line, " v")
	n, err := fmt.Sscanf(number, "%d.%d", &major, &minor)
	return major, minor, err == nil && n == 2
}

// find returns the command line of bpftool without its arguments, nil if there is
// none.
func find() []string {
	cache := os.Getenv("RULES_BPF_BAZELW_CACHE")
	if cache == "" {
		if user, err := os.UserCacheDir(); err == nil {
			cache = filepath.Join(user, "rules_bpf", "bazelw")
		}
	}
	var newest []string
	var made int64
	roots, _ := filepath.Glob(filepath.Join(cache, "root-*"))
	for _, root := range roots {
		program := filepath.Join(root, "usr/sbin/bpftool")
		loaders, _ := filepath.Glob(filepath.Join(root, "lib64/ld-linux-*"))
		libraries, _ := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu"))
		info, err := os.Stat(program)
		if err != nil || len(loaders) != 1 || len(libraries) == 0 || info.ModTime().UnixNano() < made {
			continue
		}
		made = info.ModTime().UnixNano()
		// It runs with its own C library, as the host's may be older.
		newest = []string{loaders[0], "--library-path", strings.Join(libraries, ":"), program}
	}
	if newest != nil {
		return newest
	}
	// Debian has it in /usr/sbin, which is not on the PATH of all users.
	for _, name := range []string{"bpftool", "/usr/sbin/bpftool", "/sbin/bpftool"} {
		if path, err := exec.LookPath(name); err == nil {
			return []string{path}
		}
	}
	return nil
}
