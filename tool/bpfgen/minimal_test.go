package main

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/btfarchive"
	"github.com/rules-bpf/rules_bpf/internal/core"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

const coreC = `
#define CORE __attribute__((preserve_access_index))
enum pid_type { PIDTYPE_PID, PIDTYPE_TGID };
struct mm_struct { int dummy; } CORE;
struct task_struct { int pid; int tgid; struct task_struct *real_parent; struct mm_struct *mm; char comm[16]; } CORE;
struct gone_struct { int x; } CORE;
SEC("raw_tp/sched_switch") int p(void *c)
{
	struct task_struct *t = c;
	struct gone_struct *gone = c;
	int n = t->tgid + (t->real_parent != 0) + t->comm[3];
	n += __builtin_preserve_enum_value(*(enum pid_type *)PIDTYPE_TGID, 1);
	n += __builtin_preserve_type_info(*(struct mm_struct *)0, 0);
	if (__builtin_preserve_field_info(gone->x, 2))
		n++;
	return n;
}
`

// kernelBTF returns BTF with a task_struct whose members begin at an offset, as a kernel
// may have it.
func kernelBTF(t *testing.T, order binary.ByteOrder, offset btf.Bits) string {
	t.Helper()
	task := &btf.Struct{Name: "task_struct", Size: 4096}
	for i, m := range []btf.Member{
		objtest.M("state", objtest.U64), objtest.M("pid", objtest.S32), objtest.M("tgid", objtest.S32), objtest.M("mm", objtest.Ptr(objtest.Struct("mm_struct", objtest.M("map_count", objtest.S32)))),
		objtest.M("real_parent", objtest.Ptr(task)), objtest.M("comm", objtest.Array(&btf.Int{Name: "char", Size: 1, Encoding: btf.Signed}, 16)), objtest.M("cred", objtest.Ptr(objtest.Struct("cred", objtest.M("uid", objtest.U32)))),
	} {
		m.Offset = offset + btf.Bits(i)*128
		task.Members = append(task.Members, m)
	}
	b, err := btf.NewBuilder([]btf.Type{task, objtest.Enum("pid_type", objtest.V("PIDTYPE_PID", 0), objtest.V("PIDTYPE_TGID", 3))}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.Marshal(nil, &btf.MarshalOptions{Order: order})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// sameRelocations fails unless the relocations of an object come to the same.
func sameRelocations(t *testing.T, object, whole, part string) {
	t.Helper()
	o, err := readCORE(object)
	if err != nil {
		t.Fatal(err)
	}
	types := func(data string) core.Kernel {
		t.Helper()
		types, err := rawbtf.Parse([]byte(data), nil)
		if err != nil {
			t.Fatal(err)
		}
		return core.Only(types)
	}
	a, b := core.New(o.Types, types(whole), o.Relos), core.New(o.Types, types(part), o.Relos)
	for _, relo := range o.Relos {
		if err := core.Same(relo, a, b); err != nil {
			t.Error(err)
		}
		if res, err := a.Resolve(relo); err != nil || res.Poison {
			t.Errorf("%s: %v, %v", a.Describe(relo), res, err)
		}
	}
}

func TestMinimalBTF(t *testing.T) {
	t.Chdir(t.TempDir())
	compiled(t, coreC)
	write(t, "kernel.btf", kernelBTF(t, binary.LittleEndian, 64))
	if out, errs, status := bpfgen("vmlinux", "-btf", "-object", "x.o", "-o", "min.btf", "kernel.btf"); status != 0 || out+errs != "" {
		t.Fatalf("status %d, %s%s", status, out, errs)
	}
	sameRelocations(t, "x.o", read(t, "kernel.btf"), read(t, "min.btf"))
	if min := read(t, "min.btf"); strings.Contains(min, "cred") || strings.Contains(min, "PIDTYPE_PID\x00") || !strings.Contains(min, "real_parent") {
		t.Errorf("the minimal BTF has %q", min)
	}
	if _, errs, status := bpfgen("image", "-o", "x.image", "x.o"); status != 0 {
		t.Fatal(errs)
	}
	if _, errs, status := bpfgen("vmlinux", "-btf", "-object", "x.image", "-o", "again.btf", "min.btf"); status != 0 || read(t, "again.btf") != read(t, "min.btf") {
		t.Errorf("status %d, %s: the minimal BTF of itself is another", status, errs)
	}
	if data, err := os.ReadFile("/sys/kernel/btf/vmlinux"); err == nil {
		if _, errs, status := bpfgen("vmlinux", "-btf", "-object", "x.o", "-o", "running.btf", "/sys/kernel/btf/vmlinux"); status != 0 {
			t.Fatal(errs)
		}
		sameRelocations(t, "x.o", string(data), read(t, "running.btf"))
		if n := len(read(t, "running.btf")); n > 4096 {
			t.Errorf("the minimal BTF of the running kernel has %d bytes", n)
		}
	}
}

// An object that asks nothing is left out, and said to be.
func TestMinimalBTFOfSome(t *testing.T) {
	t.Chdir(t.TempDir())
	compiled(t, "SEC(\"xdp\") int p(void *c) { return 0; }")
	if err := os.Rename("x.o", "plain.o"); err != nil {
		t.Fatal(err)
	}
	compiled(t, coreC)
	write(t, "a/1/x86_64/1.btf", kernelBTF(t, binary.LittleEndian, 64))
	const note = "bpfgen: note: plain.o: has no CO-RE relocations, the only ones that such a file serves: it is left out\n"
	for _, tt := range []struct {
		out, want string
		objects   []string
	}{
		{"one", "", []string{"-object", "x.o"}},
		{"first", note, []string{"-object", "plain.o", "-object", "x.o"}},
		{"last", note, []string{"-object", "x.o", "-object", "plain.o"}},
	} {
		args := append([]string{"vmlinux", "-btf", "-archive", "-o", tt.out}, tt.objects...)
		if out, errs, status := bpfgen(append(args, "a")...); status != 0 || out != "" || errs != tt.want {
			t.Fatalf("%s: status %d, %s%s", tt.out, status, out, errs)
		}
		if read(t, tt.out) != read(t, "one") {
			t.Errorf("%s: the archive is another than that of the other object alone", tt.out)
		}
	}
}

func TestArchive(t *testing.T) {
	t.Chdir(t.TempDir())
	compiled(t, coreC)
	kernels := map[string]string{
		"hub/ubuntu/20.04/x86_64/5.4.0-91-generic.btf": kernelBTF(t, binary.LittleEndian, 64),
		"hub/ubuntu/18.04/x86_64/5.4.0-91-generic.btf": kernelBTF(t, binary.LittleEndian, 64),
		"hub/debian/10/arm64/4.19.0-18-arm64.btf":      kernelBTF(t, binary.LittleEndian, 128),
	}
	for name, data := range kernels {
		write(t, name, data)
	}
	write(t, "hub/README.md", "about it\n")
	var list []string
	for name := range kernels {
		list = append(list, name)
	}
	for out, files := range map[string][]string{"dir.btfs": {"hub"}, "files.btfs": list} {
		if o, errs, status := bpfgen(append([]string{"vmlinux", "-btf", "-archive", "-object", "x.o", "-o", out}, files...)...); status != 0 || o+errs != "" {
			t.Fatalf("status %d, %s%s", status, o, errs)
		}
	}
	if read(t, "dir.btfs") != read(t, "files.btfs") {
		t.Error("the archive of a directory is another than that of its files")
	}
	t.Chdir("hub/ubuntu")
	if _, errs, status := bpfgen("vmlinux", "-btf", "-archive", "-object", "../../x.o", "-o", "here.btfs", "../debian", "."); status != 0 || read(t, "here.btfs") != read(t, "../../dir.btfs") {
		t.Errorf("status %d, %s: the archive depends on where it is made", status, errs)
	}
	t.Chdir("../..")
	read, err := btfarchive.Read([]byte(read(t, "dir.btfs")))
	if err != nil || len(read) != len(kernels) {
		t.Fatalf("%d kernels, %v", len(read), err)
	}
	for _, k := range read {
		sameRelocations(t, "x.o", kernels["hub/"+k.Name+".btf"], string(k.Types))
	}
}

func linkTo(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

// Links within a tree lead to kernels as well, and one directory may be met twice.
func TestArchiveOfLinks(t *testing.T) {
	t.Chdir(t.TempDir())
	compiled(t, coreC)
	write(t, "else/where/5.4.0.btf", kernelBTF(t, binary.LittleEndian, 64))
	write(t, "hub/ubuntu/20.04/x86_64/5.4.0-91-generic.btf", kernelBTF(t, binary.LittleEndian, 64))
	linkTo(t, "20.04", "hub/ubuntu/focal")
	write(t, "hub/ubuntu/22.04/README.md", "about it\n")
	linkTo(t, "../../../else/where", "hub/ubuntu/22.04/arm64")
	linkTo(t, "hub", "kernels")
	for _, dir := range []string{"hub", "kernels", "hub/ubuntu"} {
		if out, errs, status := bpfgen("vmlinux", "-btf", "-archive", "-object", "x.o", "-o", "x.btfs", dir); status != 0 || out+errs != "" {
			t.Fatalf("status %d, %s%s", status, out, errs)
		}
		kernels, err := btfarchive.Read([]byte(read(t, "x.btfs")))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, k := range kernels {
			names = append(names, k.Name[strings.Index(k.Name, "/")+1:])
		}
		if got, want := strings.Join(names, " "), "20.04/x86_64/5.4.0-91-generic 22.04/arm64/5.4.0 focal/x86_64/5.4.0-91-generic"; got != want {
			t.Errorf("%s: got %s, want %s", dir, got, want)
		}
	}
}

func TestMinimalBTFErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	compiled(t, "SEC(\"xdp\") int p(void *c) { return 0; }")
	if err := os.Rename("x.o", "plain.o"); err != nil {
		t.Fatal(err)
	}
	compiled(t, strings.Replace(coreC, "return n;", "return n + __builtin_btf_type_id(*(struct mm_struct *)0, 1);", 1))
	write(t, "a/1/x86_64/1.btf", kernelBTF(t, binary.LittleEndian, 64))
	write(t, "a/1/s390x/1.btf", kernelBTF(t, binary.BigEndian, 64))
	write(t, "a/1/x86_64/2.btf.tar.xz", "packed")
	write(t, "bad.btf", "no BTF")
	write(t, "packed/1.btf.tar.xz", "packed")
	write(t, "round/1/x86_64/1.btf", kernelBTF(t, binary.LittleEndian, 64))
	linkTo(t, "..", "round/1/again")
	write(t, "broken/2/x86_64/1.btf", kernelBTF(t, binary.LittleEndian, 64))
	linkTo(t, "gone", "broken/1")
	write(t, "kern/mine/5.4.0-91-generic.btf", kernelBTF(t, binary.LittleEndian, 64))
	write(t, "bl ank/1/x86_64/1.btf", kernelBTF(t, binary.LittleEndian, 64))
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"-object", "plain.o", "a/1/x86_64/1.btf"}, "bpfgen: no object has CO-RE relocations"},
		{[]string{"-archive", "-object", "plain.o", "-object", "plain.o", "a/1/x86_64"}, "bpfgen: no object has CO-RE relocations"},
		{[]string{"-object", "none.o", "a/1/x86_64/1.btf"}, "bpfgen: none.o: no such file"},
		{[]string{"-object", "bad.btf", "a/1/x86_64/1.btf"}, "bpfgen: bad.btf: not an ELF file"},
		{[]string{"-object", "x.o", "bad.btf"}, "bpfgen: bad.btf: is not BTF"},
		{[]string{"-object", "x.o", "a/1/s390x/1.btf"}, "bpfgen: a/1/s390x/1.btf: has the other byte order than x.o"},
		{[]string{"-object", "x.o", "-types", "a", "bad.btf"}, "bpfgen: vmlinux: -object is for -btf, without -types and -base"},
		{[]string{"-archive", "bad.btf"}, "bpfgen: vmlinux: -archive needs -btf and -object"},
		{[]string{"-archive", "-object", "x.o"}, "bpfgen: vmlinux: no files given"},
		{[]string{"-object", "x.o", "a", "b"}, "bpfgen: vmlinux: 2 files given, want 1"},
		{[]string{"a"}, "bpfgen: vmlinux: -btf needs -types or -object"},
		{[]string{"-archive", "-object", "x.o", "packed"}, "bpfgen: packed: has no files DISTRIBUTION"},
		{[]string{"-archive", "-object", "x.o", "packed/1.btf.tar.xz"}, "DIR/packed/1.btf.tar.xz: does not end in .btf: unpack it"},
		{[]string{"-archive", "-object", "x.o", "kern"}, `DIR/kern/mine/5.4.0-91-generic.btf: has "mine" in the place of the ARCHITECTURE, which is what uname -m or GOARCH say, as in ubuntu/20.04/x86_64/5.4.0-91-generic: move it`},
		{[]string{"-archive", "-object", "x.o", "bl ank"}, `DIR/bl ank/1/x86_64/1.btf: is not called DISTRIBUTION/VERSION/ARCHITECTURE/RELEASE, as in ubuntu/20.04/x86_64/5.4.0-91-generic: move it`},
		{[]string{"-archive", "-object", "x.o", "round"}, "bpfgen: DIR/round/1/again: is a link to a directory that it is in: remove it"},
		{[]string{"-archive", "-object", "x.o", "broken"}, "bpfgen: DIR/broken/1: is a symbolic link to a file that does not exist: remove it"},
		{[]string{"-archive", "-object", "x.o", "none"}, "bpfgen: DIR/none: no such file"},
		{[]string{"-archive", "-object", "x.o", "a/1/x86_64/1.btf", "a"}, "1/s390x/1.btf: has the other byte order"},
		{[]string{"-archive", "-object", "x.o", "a/1/x86_64", "a/1/x86_64/1.btf"}, "bpfgen: a/1/x86_64/1: is there twice"},
	} {
		_, errs, status := bpfgen(append([]string{"vmlinux", "-btf", "-o", "out"}, tt.args...)...)
		if dir, err := filepath.Abs("."); err == nil {
			errs = strings.ReplaceAll(errs, dir, "DIR")
		}
		if status != 1 || !strings.Contains(errs, tt.want) {
			t.Errorf("%q: status %d, %s, want %s", tt.args, status, errs, tt.want)
		}
	}
	const warning = "bpfgen: warning: x.o: bpf_core_type_id_kernel: is the ID in the file that is written: on a kernel without BTF there is no other\n"
	if _, errs, status := bpfgen("vmlinux", "-btf", "-o", "out", "-object", "x.o", "a/1/x86_64/1.btf"); status != 0 || errs != warning {
		t.Errorf("status %d, %s", status, errs)
	}
}
