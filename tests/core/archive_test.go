package core_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
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
	archive := os.Getenv(hiddenEnv)
	var want []int64
	if archive == "" {
		want, archive = values(t, skeleton.LoadOptions{}), newArchive(t)
	}
	if kerneltest.WithoutBTF(t, hiddenEnv+"="+archive) {
		record(t, archive)
		return
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

// newArchive returns an archive that bpfgen makes of the kernel's BTF for the object.
func newArchive(t *testing.T) string {
	t.Helper()
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
	return archive
}

// record writes beside the archive what the object says with it.
func record(t *testing.T, archive string) {
	t.Helper()
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
