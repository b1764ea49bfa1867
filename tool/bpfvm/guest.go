//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/tool/internal/vmguest"
	"github.com/rules-bpf/rules_bpf/tool/internal/vmproto"
)

// modulePath is the Go module of the guest's packages.
const modulePath = "github.com/rules-bpf/rules_bpf"

// guestSources returns the files of a Go module that is the guest alone. It needs
// no other module, so it builds wherever there is Go: whatever module, vendor directory
// or version bpfvm itself was built from, and without a network.
func guestSources() (map[string][]byte, error) {
	files := map[string][]byte{
		"go.mod": []byte("module " + modulePath + "\n\ngo 1.25\n"),
		"tool/guest/main.go": []byte("package main\n\n" +
			"import \"" + modulePath + "/tool/internal/vmguest\"\n\n" +
			"func main() { vmguest.Main() }\n"),
	}
	for dir, source := range map[string]embed.FS{
		"tool/internal/vmguest": vmguest.Source,
		"tool/internal/vmproto": vmproto.Source,
	} {
		err := fs.WalkDir(source, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := source.ReadFile(name)
			files[path.Join(dir, name)] = data
			return err
		})
		if err != nil {
			return nil, err
		}
		// This stands in for the file by which bpfvm embeds the sources.
		files[path.Join(dir, "source.go")] = []byte("package " + path.Base(dir) + "\n")
	}
	return files, nil
}

// builtGuest returns the path of the guest for the CPU, in the user's cache directory.
// It is built when it is not there.
func builtGuest(c *cpu) (string, error) {
	sources, err := guestSources()
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("keeps what it builds in your cache directory: %w: set XDG_CACHE_HOME to a directory", err)
	}
	cache = filepath.Join(cache, "rules_bpf", "bpfvm")
	// A map prints in the order of its keys.
	sum := sha256.Sum256(fmt.Append(nil, sources))
	guest := filepath.Join(cache, fmt.Sprintf("guest-%s-%s", c.goarch, hex.EncodeToString(sum[:8])))
	if _, err := os.Stat(guest); !errors.Is(err, fs.ErrNotExist) {
		return guest, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	if err := dropStale(cache); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(cache, "build")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	// An interrupt leaves neither the directory nor a running compiler behind.
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	for name, data := range sources {
		file := filepath.Join(work, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return "", err
		}
	}
	built := filepath.Join(work, "guest")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", built, "./tool/guest")
	cmd.Dir = work
	cmd.Env = append(os.Environ(), "PWD="+work, "GOOS=linux", "GOARCH="+c.goarch, "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GO111MODULE=on")
	// The go command starts compilers, which the group includes.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return "", errors.New("interrupted while it built the program that the kernel begins with")
		}
		if errors.Is(err, exec.ErrNotFound) {
			return "", fmt.Errorf("builds, once for each cpu, the program that the kernel begins with, and needs the command go on PATH for that: %w", err)
		}
		return "", fmt.Errorf("build the program that the kernel begins with: %w\n%s", err, bytes.TrimSpace(out))
	}
	// Others may build it at the same time; each file is whole.
	return guest, os.Rename(built, guest)
}

// dropStale removes what builds have left that were killed.
func dropStale(cache string) error {
	directories, err := filepath.Glob(filepath.Join(escapeGlob(cache), "build*"))
	if err != nil {
		return err
	}
	for _, directory := range directories {
		if info, err := os.Stat(directory); err == nil && time.Since(info.ModTime()) > time.Hour {
			if err := os.RemoveAll(directory); err != nil {
				return err
			}
		}
	}
	return nil
}
