//go:build linux

// Package kerneltest has what tests of this repository need besides package bpftest, which is
// for users' tests too, and skips tests as that does.
package kerneltest

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Release returns the release of the running kernel, as uname -r does.
func Release(t testing.TB) string {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	return unix.ByteSliceToString(u.Release[:])
}

// Rounds is how often a test does what is to come out the same each time: as often as it says
// on the machine itself, and a tenth of that, at least twice, in a machine that QEMU boots,
// whose CPU may be emulated.
func Rounds(most int) int {
	if os.Getenv("IN_VM") != "" {
		return max(2, most/10)
	}
	return most
}

// Config reports whether a Kconfig option is on. It is taken to be on where
// the kernel's configuration cannot be read.
func Config(t testing.TB, name string) bool {
	t.Helper()
	text := config(t)
	return text == "" || strings.Contains(text, "\n"+name+"=y\n") || strings.Contains(text, "\n"+name+"=m\n")
}

// NeedsJIT skips t on a kernel without a BPF JIT compiler, as some CPUs' are built: programs
// that are called from trampolines, struct_ops, arenas and kfuncs need it.
func NeedsJIT(t testing.TB) {
	t.Helper()
	if !Config(t, "CONFIG_BPF_JIT") {
		t.Skip("needs a kernel with CONFIG_BPF_JIT")
	}
}

func config(t testing.TB) string {
	if data, err := os.ReadFile("/boot/config-" + Release(t)); err == nil {
		return string(data)
	}
	f, err := os.Open("/proc/config.gz")
	if err != nil {
		return ""
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		return ""
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return ""
	}
	return string(data)
}

// StructOpsLinks skips t when err says that the kernel does not attach struct_ops
// maps through links.
func StructOpsLinks(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, ebpf.ErrNotSupported) && strings.Contains(err.Error(), "Linux 6.4") {
		t.Skipf("needs links of struct_ops maps (Linux 6.4): %v", err)
	}
}

// MapCount returns the number of memory mappings of this process.
func MapCount(t testing.TB) int {
	t.Helper()
	data, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, b := range data {
		if b == '\n' {
			n++
		}
	}
	return n
}

// FDs returns the open file descriptors of this process and what they refer to.
func FDs(t testing.TB) map[string]string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	fds := make(map[string]string, len(entries))
	for _, e := range entries {
		// The descriptor that read the directory is gone by now.
		target, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%s", e.Name()))
		// The C library reads the latter when a thread allocates for the first time.
		if err != nil || target == "/sys/devices/system/cpu/online" {
			continue
		}
		fds[e.Name()] = target
	}
	return fds
}
