package bpftest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// Executable returns the path of an executable file with this name, for tests of programs that
// trace processes. The file is there until t ends. [Run] runs it, and it exits at once. It is
// the test's own file under another name, as a machine on which tests run need not have any
// other program; a TestMain can make it do more.
func Executable(t testing.TB, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// Run runs what [Executable] has returned, with further arguments that it does not look at,
// and waits for its end. t fails when it does.
func Run(t testing.TB, path string, args ...string) {
	t.Helper()
	cmd := exec.Command(path, append([]string{"-test.run=^$"}, args...)...)
	// An empty environment: with that of this test, the new process would write into the same
	// files.
	cmd.Env = []string{"PATH="}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", path, err, out)
	}
}

// OnThread runs f in a goroutine and on a thread of its own, and returns what f does. The
// thread ends with f, which may change it at will: its user, its capabilities, its namespaces.
func OnThread(f func() error) error {
	result := make(chan error)
	go func() {
		err := errors.New("the function has ended its goroutine, as t.Fatal and t.Skip do: return an error instead")
		defer func() { result <- err }()
		// Never unlocked: the thread ends with the goroutine.
		runtime.LockOSThread()
		err = f()
	}()
	return <-result
}

// A Buffer takes what one goroutine prints, while others wait for it. The zero value is
// empty and ready for use.
type Buffer struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write appends p. It returns no error.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String returns all that has been printed.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// WaitFor waits until what has been printed matches, or ctx ends.
func (b *Buffer) WaitFor(ctx context.Context, re *regexp.Regexp) {
	for ctx.Err() == nil && !re.MatchString(b.String()) {
		time.Sleep(5 * time.Millisecond)
	}
}
