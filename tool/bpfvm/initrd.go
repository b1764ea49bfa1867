//go:build linux

package main

import (
	"bufio"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/rules-bpf/rules_bpf/tool/internal/cpio"
	"github.com/rules-bpf/rules_bpf/tool/internal/vmproto"
)

// files are paths on the host by their paths in the guest. Directories come with all
// that is in them.
type files struct {
	host map[string]string
	// order has the keys of host.
	order []string
}

// add adds a file or directory.
func (f *files) add(guestPath, hostPath string) {
	if f.host == nil {
		f.host = map[string]string{}
	}
	if _, ok := f.host[guestPath]; !ok {
		f.order = append(f.order, guestPath)
	}
	f.host[guestPath] = hostPath
}

// writeInitrd returns a file with the kernel's first file system, which goes when
// it is closed.
func (j *job) writeInitrd() (*os.File, error) {
	f, err := os.CreateTemp(os.Getenv("TEST_TMPDIR"), "initrd")
	if err != nil {
		return nil, err
	}
	// It has a name no longer, so nothing can leave it behind.
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	if err := j.writeInitrdTo(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (j *job) writeInitrdTo(f io.Writer) error {
	buf := bufio.NewWriterSize(f, 1<<20)
	// The kernel unpacks archives that follow each other.
	if _, err := buf.Write(j.modules); err != nil {
		return err
	}
	a := archive{w: cpio.NewWriter(buf), written: map[string]bool{}, first: map[fileID]string{}, open: map[fileID]string{}}
	if err := a.file("/init", j.guest); err != nil {
		return err
	}
	if j.config != "" {
		if err := a.file(vmproto.ConfigFile, j.config); err != nil {
			return err
		}
	}
	run, err := j.run.Encode()
	if err != nil {
		return err
	}
	if err := a.w.File(vmproto.RunFile, 0o644, int64(len(run)), bytes.NewReader(run)); err != nil {
		return err
	}
	for _, guestPath := range j.files.order {
		if err := a.tree(guestPath, j.files.host[guestPath]); err != nil {
			return err
		}
	}
	if err := a.w.Close(); err != nil {
		return err
	}
	return buf.Flush()
}

// An archive is a cpio.Writer that knows what has been written.
type archive struct {
	w       *cpio.Writer
	written map[string]bool
	// first has the path in the archive of each file of the host.
	first map[fileID]string
	// open has the same of each directory that is being written.
	open map[fileID]string
}

// fileID identifies a file of the host, whatever its name.
type fileID struct{ dev, ino uint64 }

func idOf(info fs.FileInfo) fileID {
	st := info.Sys().(*syscall.Stat_t)
	return fileID{uint64(st.Dev), st.Ino}
}

// tree writes a file, or a directory and what is in it. Symbolic links become what
// they lead to: runfiles are links to files that the guest does not have. Those
// that lead nowhere, or to a directory that they are in, stay links.
func (a *archive) tree(guestPath, hostPath string) error {
	info, err := os.Stat(hostPath)
	if errors.Is(err, fs.ErrNotExist) {
		if target, linkErr := os.Readlink(hostPath); linkErr == nil {
			return a.w.Symlink(guestPath, target)
		}
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		// Among the runfiles, several names may lead to one file.
		first, ok := a.first[idOf(info)]
		if ok && first != guestPath {
			return a.w.Symlink(guestPath, first)
		}
		a.first[idOf(info)] = guestPath
		return a.file(guestPath, hostPath)
	}
	id := idOf(info)
	if outer, ok := a.open[id]; ok {
		return a.w.Symlink(guestPath, outer)
	}
	a.open[id] = guestPath
	defer delete(a.open, id)
	if err := a.w.Dir(guestPath); err != nil {
		return err
	}
	entries, err := os.ReadDir(hostPath)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := a.tree(path.Join(guestPath, e.Name()), filepath.Join(hostPath, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// file writes a regular file, and the shared libraries that it needs.
func (a *archive) file(guestPath, hostPath string) error {
	if a.written[guestPath] {
		return nil
	}
	a.written[guestPath] = true
	f, err := os.Open(hostPath)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: is neither a file nor a directory", hostPath)
	}
	// Bazel's files are executable throughout, so mode says little.
	if err := a.w.File(guestPath, info.Mode(), info.Size(), f); err != nil {
		return err
	}
	libraries, err := sharedLibraries(hostPath)
	if err != nil {
		return err
	}
	for _, library := range libraries {
		if err := a.tree(library, library); err != nil {
			return fmt.Errorf("%s needs %s: %w", hostPath, library, err)
		}
		if err := a.otherName(library); err != nil {
			return err
		}
	}
	return nil
}

// otherName links a library by the other name that it has where /lib is a link to
// /usr/lib: the loader uses one, and people often the other.
func (a *archive) otherName(library string) error {
	other, ok := strings.CutPrefix(library, "/usr")
	if !ok {
		other = "/usr" + library
	}
	if a.written[other] {
		return nil
	}
	one, err := os.Stat(library)
	if err != nil {
		return err
	}
	if two, err := os.Stat(other); err != nil || !os.SameFile(one, two) {
		return nil
	}
	a.written[other] = true
	return a.w.Symlink(other, library)
}

// sharedLibraries returns the libraries of this machine that an executable is
// linked with, and the loader that loads them. Files other than dynamically
// linked executables have none.
func sharedLibraries(name string) ([]string, error) {
	f, err := elf.Open(name)
	if err != nil {
		// Whatever it is, it cannot be run.
		return nil, nil
	}
	defer f.Close()
	if !slices.ContainsFunc(cpus, func(c *cpu) bool { return c.native() && c.machine == f.Machine }) {
		return nil, nil
	}
	loader, err := interpreter(f)
	if err != nil || loader == "" {
		return nil, err
	}
	if _, err := os.Stat(loader); errors.Is(err, fs.ErrNotExist) {
		// It does not run on this machine either, so it is data.
		return nil, nil
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	var stderr bytes.Buffer
	cmd := exec.Command(loader, "--list", path)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s is linked with shared libraries, which %s cannot find (link it statically: pure = \"on\"): %w: %s",
			name, loader, err, strings.TrimSpace(stderr.String()))
	}
	return append(librariesIn(string(out)), loader), nil
}

// interpreter returns the loader that an executable names, or "".
func interpreter(f *elf.File) (string, error) {
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			data, err := io.ReadAll(p.Open())
			return string(bytes.TrimRight(data, "\x00")), err
		}
	}
	return "", nil
}

// librariesIn reads the output of a loader's --list: lines such as
// "libc.so.6 => /lib/libc.so.6 (0x7f...)".
func librariesIn(list string) []string {
	var paths []string
	for line := range strings.Lines(list) {
		if _, target, ok := strings.Cut(line, " => "); ok {
			if path, _, ok := strings.Cut(target, " ("); ok && filepath.IsAbs(path) {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

// checkLibraries returns an error when the executable is linked with shared
// libraries that this machine cannot have, as they are for another CPU.
func (c *cpu) checkLibraries(name string) error {
	if c.native() {
		return nil
	}
	f, err := elf.Open(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer f.Close()
	loader, err := interpreter(f)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if loader != "" {
		return fmt.Errorf("%s is linked with shared libraries for %s, which this machine does not have: link it statically (CGO_ENABLED=0; in Bazel pure = \"on\")", name, c.name)
	}
	return nil
}

// readList returns the lines of a file.
func readList(name string) ([]string, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n"), nil
}
