package core_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

// hiddenEnv is the archive that a process on a kernel without BTF loads with. What it has
// recorded it writes beside that.
const hiddenEnv = "HIDDEN_BTF_ARCHIVE"

// typeID is the value that is the ID of a kernel's type.
const typeID = 6

// On a kernel whose BTF is hidden, the little of it that bpfgen has made for the object
// says what all of it does.
func TestKernelArchive(t *testing.T) {
	bpftest.NeedsBPF(t)
	if archive := os.Getenv(hiddenEnv); archive != "" {
		withoutBTF(t, archive)
		return
	}
	want := values(t, skeleton.LoadOptions{})

	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	kernel, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "test/1", runtime.GOARCH, unix.ByteSliceToString(name.Release[:])+".btf")
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, kernel, 0o666); err != nil {
		t.Fatal(err)
	}
	object, err := runfiles.Rlocation("_main/tests/core/progs/relos/relos.bpf.o")
	if err != nil {
		t.Fatal(err)
	}
	// By its path: in other kernels, tests have no variables of their own.
	bpfgen, err := runfiles.Rlocation("_main/tool/bpfgen/bpfgen_/bpfgen")
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "kernels.btfs")
	if out, err := exec.Command(bpfgen, "vmlinux", "-btf", "-archive", "-object", object, "-o", archive, filepath.Join(dir, "test")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if info, err := os.Stat(archive); err != nil || info.Size() > int64(len(kernel)/10) {
		t.Errorf("the archive has %d bytes, %v", info.Size(), err)
	}

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// In a mount namespace of its own, and so a process of its own.
	cmd := exec.Command(self, "-test.run=^TestKernelArchive$", "-test.v")
	cmd.Env = append(os.Environ(), hiddenEnv+"="+archive)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM):
		t.Skipf("needs CAP_SYS_ADMIN: %v", err)
	case err != nil:
		t.Fatalf("%v: %s", err, out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	}
	data, err := os.ReadFile(archive + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var got []int64
	if err := json.Unmarshal(data, &got); err != nil || len(got) != len(want) {
		t.Fatalf("%d values, want %d, %v", len(got), len(want), err)
	}
	for i := range want {
		if got[i] != want[i] && i != typeID {
			t.Errorf("value %d is %d by the archive, want %d", i, got[i], want[i])
		}
	}
}

func withoutBTF(t *testing.T, archive string) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", "/sys/kernel/btf", "tmpfs", 0, ""); err != nil {
		t.Skipf("needs to mount over /sys/kernel/btf: %v", err)
	}
	kernels, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(values(t, skeleton.LoadOptions{KernelArchive: kernels, KernelName: "test"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(archive+".json", data, 0o666); err != nil {
		t.Fatal(err)
	}
}
