// Package cpio writes the archives that the kernel unpacks as its first root
// file system: cpio in the format "newc", without compression.
package cpio

import (
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"strings"
)

// The bits of a mode that say what a file is, as in stat(2).
const (
	typeDir     = 0o040000
	typeRegular = 0o100000
	typeSymlink = 0o120000
)

// trailer is the name of the entry that ends an archive.
const trailer = "TRAILER!!!"

// A Writer writes one archive. Archives may follow each other in a file: the
// kernel unpacks all of them.
type Writer struct {
	w     io.Writer
	size  int64
	inode uint32
	dirs  map[string]bool
}

// NewWriter returns a Writer of an archive to w, which should be buffered.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: w, dirs: map[string]bool{}}
}

// Dir writes a directory and the directories it is in, unless they were written before.
func (w *Writer) Dir(name string) error {
	name, err := clean(name)
	if err != nil || name == "" || w.dirs[name] {
		return err
	}
	if err := w.parents(name); err != nil {
		return err
	}
	w.dirs[name] = true
	return w.entry(name, typeDir|0o755, 0, strings.NewReader(""))
}

// File writes a regular file of size bytes, which it reads from r, and the
// directories it is in. Of mode only the permissions count.
func (w *Writer) File(name string, mode fs.FileMode, size int64, r io.Reader) error {
	name, err := clean(name)
	if err != nil {
		return err
	}
	if err := w.parents(name); err != nil {
		return err
	}
	return w.entry(name, typeRegular|uint32(mode.Perm()), size, r)
}

// Symlink writes a symbolic link to target, and the directories it is in.
func (w *Writer) Symlink(name, target string) error {
	name, err := clean(name)
	if err != nil {
		return err
	}
	if err := w.parents(name); err != nil {
		return err
	}
	return w.entry(name, typeSymlink|0o777, int64(len(target)), strings.NewReader(target))
}

// Close ends the archive. It does not close the io.Writer below.
func (w *Writer) Close() error {
	return w.entry(trailer, 0, 0, strings.NewReader(""))
}

// clean returns a path from the root of the file system, without its slash.
func clean(name string) (string, error) {
	if strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("cpio: the name %q has a zero byte", name)
	}
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if name == trailer {
		return "", fmt.Errorf("cpio: no file can have the name %s, which ends an archive", trailer)
	}
	return name, nil
}

func (w *Writer) parents(name string) error {
	if dir := path.Dir(name); dir != "." {
		return w.Dir(dir)
	}
	return nil
}

func (w *Writer) entry(name string, mode uint32, size int64, r io.Reader) error {
	if size > math.MaxUint32 {
		return fmt.Errorf("cpio: %s has %d bytes, and the format ends at 4 GB", name, size)
	}
	w.inode++
	links := 1
	if mode&typeDir != 0 && mode&typeRegular == 0 {
		links = 2
	}
	// Inode, mode, uid, gid, links, time, size, device, device of a special
	// file, length of the name, checksum.
	header := "070701"
	for _, v := range []uint32{w.inode, mode, 0, 0, uint32(links), 0, uint32(size), 0, 0, 0, 0, uint32(len(name) + 1), 0} {
		header += fmt.Sprintf("%08X", v)
	}
	if err := w.write(header + name + "\x00"); err != nil {
		return err
	}
	if err := w.pad(); err != nil {
		return err
	}
	n, err := io.Copy(w.w, io.LimitReader(r, size))
	w.size += n
	if err != nil {
		return fmt.Errorf("cpio: %s: %w", name, err)
	}
	if n != size {
		return fmt.Errorf("cpio: %s: has %d bytes, and had %d a moment ago", name, n, size)
	}
	return w.pad()
}

func (w *Writer) write(s string) error {
	n, err := io.WriteString(w.w, s)
	w.size += int64(n)
	return err
}

// pad fills up to a multiple of 4 bytes.
func (w *Writer) pad() error {
	return w.write("\x00\x00\x00"[:-w.size&3])
}
