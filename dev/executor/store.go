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

// path returns the file of a blob. A file that may be executed is another one.
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
	d := digestOf(data)
	return d, s.putReader(d, bytes.NewReader(data))
}

// putReader stores what it reads, which must have the digest.
func (s *store) putReader(d *repb.Digest, r io.Reader) error {
	if err := checkHash(d.GetHash()); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.dir, "new")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), r)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); n != d.GetSizeBytes() || got != d.GetHash() {
		return fmt.Errorf("got %d bytes with hash %s, want %d with %s", n, got, d.GetSizeBytes(), d.GetHash())
	}
	// Other users than this one read it.
	for _, executable := range []bool{true, false} {
		mode := fs.FileMode(0o444)
		if executable {
			mode = 0o555
		}
		if err := copyFile(s.path(d.GetHash(), executable), f.Name(), mode); err != nil {
			return err
		}
	}
	return nil
}

// copyFile makes a file that is there at once or not at all.
func copyFile(to, from string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(to), "new")
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Chmod(mode), out.Close()); err != nil {
		return errors.Join(err, os.Remove(out.Name()))
	}
	return os.Rename(out.Name(), to)
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
