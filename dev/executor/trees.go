//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
)

// sharedSize is how many files a directory has at least, with those below it, to be shared. With
// fewer, links are as fast as a mount.
const sharedSize = 100

// trees has directories of inputs that one action after the other has, such as Go's standard
// library with its thousands of files: laid out once, and mounted for reading.
type trees struct {
	store *store
	dir   string

	mu sync.Mutex
	// known has the trees that an action had, by the hashes of their directories.
	known map[string]*tree
}

type tree struct {
	files int
	// seen reports whether an action had it. Most large directories, those near the root, differ
	// from action to action, and are not worth being kept.
	seen bool
	laid sync.Once
	err  error
}

func newTrees(s *store, dir string) *trees {
	return &trees{store: s, dir: dir, known: make(map[string]*tree)}
}

// sizeOf returns the tree of a directory, with its number of files.
func (t *trees) sizeOf(d *repb.Digest) (*tree, error) {
	t.mu.Lock()
	known := t.known[d.GetHash()]
	t.mu.Unlock()
	if known != nil {
		return known, nil
	}
	var dir repb.Directory
	if err := t.store.message(d, &dir); err != nil {
		return nil, err
	}
	files := len(dir.GetFiles())
	for _, sub := range dir.GetDirectories() {
		below, err := t.sizeOf(sub.GetDigest())
		if err != nil {
			return nil, err
		}
		files += below.files
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	// Another action may have been faster.
	if t.known[d.GetHash()] == nil {
		t.known[d.GetHash()] = &tree{files: files}
	}
	return t.known[d.GetHash()], nil
}

// get returns the path that a directory is laid out at, or an empty one for a directory that is
// not shared.
func (t *trees) get(d *repb.Digest) (string, error) {
	found, err := t.sizeOf(d)
	if err != nil {
		return "", err
	}
	t.mu.Lock()
	seen := found.seen
	found.seen = true
	t.mu.Unlock()
	if !seen || found.files < sharedSize {
		return "", nil
	}
	at := filepath.Join(t.dir, "tree-"+d.GetHash())
	found.laid.Do(func() {
		l := layer{trees: t, root: at, outputs: []string{"."}}
		if found.err = l.lay(".", d); found.err != nil {
			// The client may upload what is missing.
			found.err = errors.Join(found.err, os.RemoveAll(at))
			t.mu.Lock()
			delete(t.known, d.GetHash())
			t.mu.Unlock()
		}
	})
	return at, found.err
}

// A sharedDir is a directory that is laid out at From and mounted at To, below buildDir.
type sharedDir struct{ From, To string }

// layer lays out the inputs of an action.
type layer struct {
	trees *trees
	root  string
	// outputs are paths that the command writes to: they, and what is below or above them, are
	// not shared.
	outputs []string
	shared  []sharedDir
}

// lay writes a directory of the store to a path below the root.
func (l *layer) lay(at string, d *repb.Digest) error {
	var dir repb.Directory
	if err := l.trees.store.message(d, &dir); err != nil {
		return err
	}
	to := filepath.Join(l.root, at)
	if err := makeDir(to); err != nil {
		return err
	}
	for _, f := range dir.GetFiles() {
		if err := checkName(f.GetName()); err != nil {
			return err
		}
		// A link: only the store's owner can write to the file.
		if err := l.trees.store.link(f.GetDigest(), f.GetIsExecutable(), filepath.Join(to, f.GetName())); err != nil {
			return err
		}
	}
	for _, s := range dir.GetSymlinks() {
		if err := checkName(s.GetName()); err != nil {
			return err
		}
		if err := os.Symlink(s.GetTarget(), filepath.Join(to, s.GetName())); err != nil {
			return err
		}
	}
	for _, sub := range dir.GetDirectories() {
		if err := checkName(sub.GetName()); err != nil {
			return err
		}
		if err := l.laySub(path.Join(at, sub.GetName()), sub.GetDigest()); err != nil {
			return err
		}
	}
	return nil
}

func (l *layer) laySub(at string, d *repb.Digest) error {
	if !slices.ContainsFunc(l.outputs, func(output string) bool { return within(at, output) || within(output, at) }) {
		from, err := l.trees.get(d)
		if err != nil {
			return err
		}
		if from != "" {
			l.shared = append(l.shared, sharedDir{from, at})
			return nil
		}
	}
	return l.lay(at, d)
}

// within reports whether a clean path is another one or below it.
func within(name, dir string) bool {
	return dir == "." || name == dir || strings.HasPrefix(name, dir+"/")
}

func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsRune(name, '/') {
		return fmt.Errorf("%q is no name of a file", name)
	}
	return nil
}
