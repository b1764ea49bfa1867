// Package faulttest_test lets calls of the kernel fail, one after the other.
package faulttest_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/loader"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// TestFaults loads the objects of this repository with a fault in the first call of bpf(2),
// then in the second, and so on: a Load that fails leaves nothing behind, and one that can
// do without the call has made everything.
func TestFaults(t *testing.T) {
	bpftest.NeedsBPFFS(t)
	for _, path := range images(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".bpf.o.image"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			img, err := image.Decode(string(data))
			if err != nil {
				t.Fatal(err)
			}
			if err := warm(t, img); err != nil {
				t.Skipf("needs a kernel that loads the object: %v", err)
			}
			for _, errno := range []unix.Errno{unix.EMFILE, unix.EINVAL, unix.EPERM} {
				failEach(t, img, errno, (*loader.Object).Load)
			}
			failEach(t, img, unix.EINVAL, prepareAndLoad)
		})
	}
}

// failEach loads an object again and again, until no call is left to fail.
func failEach(t *testing.T, img *image.Object, errno unix.Errno, load func(*loader.Object, loader.Options) error) {
	t.Helper()
	for n := 0; ; n++ {
		reached, err := loadFaulty(t, img, n, errno, load)
		if !reached {
			if err != nil {
				t.Errorf("without a fault: %v", err)
			}
			break
		}
		// A refused BTF is left out: what needs it says so.
		if err != nil && !errors.Is(err, errno) && !errors.Is(err, ebpf.ErrNotSupported) && !isVerifierError(err) {
			t.Errorf("call %d fails with %v, Load with: %v", n, errno, err)
		}
	}
}

// prepareAndLoad is Load with Prepare before. When it fails, nothing is left either, once the
// object is closed.
func prepareAndLoad(o *loader.Object, opts loader.Options) error {
	if err := o.Prepare(opts); err != nil {
		return err
	}
	err := o.Load(loader.Options{})
	if err == nil {
		return nil
	}
	// What Prepare has pinned stays, as what Load has.
	return errors.Join(err, unload(o), os.RemoveAll(opts.PinRoot), os.Mkdir(opts.PinRoot, 0o700))
}

// images are the files with images that Bazel has made.
func images(t *testing.T) []string {
	t.Helper()
	dir := os.Getenv("LOADER_IMAGES")
	if dir == "" {
		t.Skip("needs the images of this repository's objects: run it with Bazel, or set LOADER_IMAGES")
	}
	var out []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".image") {
			out = append(out, path)
		}
		return err
	})
	if err != nil || len(out) == 0 {
		t.Fatalf("%s: no images: %v", dir, err)
	}
	return out
}

// warm loads an object once, so that the process has all that it keeps.
func warm(t *testing.T, img *image.Object) error {
	t.Helper()
	o := loader.Open(img)
	if err := o.Load(loader.Options{PinRoot: pinRoot(t)}); err != nil {
		return err
	}
	return unload(o)
}

// unload closes an object as its owner does, which has the memory of arenas.
func unload(o *loader.Object) error {
	var arenas []*loader.Arena
	for _, m := range o.Maps {
		if m.Arena != nil {
			arenas = append(arenas, m.Arena)
		}
	}
	err := o.Close()
	for _, a := range arenas {
		err = errors.Join(err, a.Release())
	}
	return err
}

// pinRoot returns a new directory for pins.
func pinRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/sys/fs/bpf", "faults")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// loadFaulty loads and closes an object. The call of bpf(2) with the number n fails, and
// reached says that there was one.
func loadFaulty(t *testing.T, img *image.Object, n int, errno unix.Errno, load func(*loader.Object, loader.Options) error) (reached bool, err error) {
	t.Helper()
	before := held(t)
	o := loader.Open(img)
	var calls, failed atomic.Int64
	var command sys.Cmd
	restore := sys.SetFault(func(cmd sys.Cmd) error {
		if calls.Add(1)-1 != int64(n) {
			return nil
		}
		failed.Add(1)
		command = cmd
		return errno
	})
	pins := pinRoot(t)
	err = load(o, loader.Options{PinRoot: pins})
	restore()
	if err == nil {
		if closeErr := unload(o); closeErr != nil {
			t.Errorf("Close: %v", closeErr)
		}
	}
	if after := held(t); !slices.Equal(before, after) {
		t.Errorf("call %d (%v) fails with %v, Load with %v: left are %v, there were %v", n, command, errno, err, after, before)
	}
	entries, readErr := os.ReadDir(pins)
	if readErr != nil || err != nil && len(entries) > 0 {
		t.Errorf("call %d (%v) fails with %v, Load with %v: pinned are %v, %v", n, command, errno, err, entries, readErr)
	}
	if err := os.RemoveAll(pins); err != nil {
		t.Error(err)
	}
	return failed.Load() > 0, err
}

// held is what the process has of the kernel's: descriptors and mappings of maps.
func held(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		// That of the directory itself is closed by now.
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.Contains(target, "bpf") || strings.Contains(target, "btf") {
			out = append(out, target)
		}
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, "bpf") || strings.Contains(line, "btf") {
			out = append(out, line)
		}
	}
	return out
}

func isVerifierError(err error) bool {
	var ve *ebpf.VerifierError
	return errors.As(err, &ve)
}
