//go:build linux

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"
)

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func digestOf(data []byte) *repb.Digest {
	return &repb.Digest{Hash: hashOf(data), SizeBytes: int64(len(data))}
}

// store has blobs by their hashes, as files that actions get links to, and the results of
// actions.
type store struct {
	dir string

	mu      sync.Mutex
	results map[string]*repb.ActionResult
}

func newStore(dir string) (*store, error) {
	s := &store{dir: dir, results: make(map[string]*repb.ActionResult)}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	// Every client takes the empty blob for stored.
	_, err := s.put(nil)
	return s, err
}

// path returns the file of a blob. A file that may be executed is another one, as links to one
// file have one mode.
func (s *store) path(hash string, executable bool) string {
	if executable {
		hash += ".x"
	}
	return filepath.Join(s.dir, hash)
}

func checkHash(hash string) error {
	if _, err := hex.DecodeString(hash); err != nil || len(hash) != sha256.Size*2 {
		return fmt.Errorf("%q is no hash of SHA-256", hash)
	}
	return nil
}

func (s *store) has(d *repb.Digest) bool {
	info, err := os.Stat(s.path(d.GetHash(), false))
	return checkHash(d.GetHash()) == nil && err == nil && info.Size() == d.GetSizeBytes()
}

// put stores a blob.
func (s *store) put(data []byte) (*repb.Digest, error) {
	return s.putReader(bytes.NewReader(data), nil)
}

// putFile stores what a file has.
func (s *store) putFile(name string) (*repb.Digest, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return s.putReader(f, nil)
}

// putReader stores what it reads, and returns its digest, which must be the wanted one unless
// that is nil.
func (s *store) putReader(r io.Reader, want *repb.Digest) (*repb.Digest, error) {
	sum := sha256.New()
	d := want
	err := writeFile(s.dir, io.TeeReader(r, sum), func(size int64) (string, fs.FileMode, error) {
		got := &repb.Digest{Hash: hex.EncodeToString(sum.Sum(nil)), SizeBytes: size}
		if want != nil && !proto.Equal(got, want) {
			return "", 0, fmt.Errorf("got %d bytes with hash %s, want %d with %s", size, got.GetHash(), want.GetSizeBytes(), want.GetHash())
		}
		d = got
		return s.path(got.GetHash(), false), blobMode, nil
	})
	return d, err
}

// link makes a link to a blob. The files of the store that may be executed are made when a
// command first has one: of most blobs there are none.
func (s *store) link(d *repb.Digest, executable bool, to string) error {
	if err := checkHash(d.GetHash()); err != nil {
		return err
	}
	from := s.path(d.GetHash(), executable)
	err := os.Link(from, to)
	if !executable || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	blob, err := os.Open(s.path(d.GetHash(), false))
	if err != nil {
		return err
	}
	defer blob.Close()
	if err := writeFile(s.dir, blob, func(int64) (string, fs.FileMode, error) { return from, blobMode | 0o111, nil }); err != nil {
		return err
	}
	return os.Link(from, to)
}

// blobMode lets other users than the store's read a blob.
const blobMode = 0o444

// writeFile makes a file of what it reads, which is there at once or not at all. Its name,
// which is in the directory, and its mode are asked for when all is read.
//
// A file of that name stays: it has the same text, and the kernel makes no link to a file that
// another one replaces at that moment.
func writeFile(dir string, r io.Reader, called func(size int64) (string, fs.FileMode, error)) error {
	f, err := os.CreateTemp(dir, "new")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	size, err := io.Copy(f, r)
	var name string
	var mode fs.FileMode
	if err == nil {
		name, mode, err = called(size)
	}
	if err == nil {
		err = f.Chmod(mode)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), name); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func (s *store) get(d *repb.Digest) ([]byte, error) {
	if err := checkHash(d.GetHash()); err != nil {
		return nil, err
	}
	return os.ReadFile(s.path(d.GetHash(), false))
}

// message reads a blob that is a message.
func (s *store) message(d *repb.Digest, m proto.Message) error {
	data, err := s.get(d)
	if err != nil {
		return err
	}
	return proto.Unmarshal(data, m)
}

func (s *store) result(action *repb.Digest) *repb.ActionResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.results[action.GetHash()]
}

func (s *store) setResult(action *repb.Digest, r *repb.ActionResult) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results[action.GetHash()] = r
}
