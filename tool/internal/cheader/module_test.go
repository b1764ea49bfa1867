package cheader_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/cheader"
)

// splitBTF is the BTF of a module, in the making: its types go on with the numbers
// of the kernel's types, and its names with those of the kernel's names.
type splitBTF struct {
	firstName, firstType uint32
	names, types         []byte
	n                    uint32
}

func newSplitBTF(t *testing.T, kernel []byte) *splitBTF {
	t.Helper()
	types, err := bpfobj.ScanBTF(kernel, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &splitBTF{firstName: binary.NativeEndian.Uint32(kernel[20:]), firstType: uint32(types.End()), names: []byte{0}}
}

func (s *splitBTF) name(name string) uint32 {
	offset := s.firstName + uint32(len(s.names))
	s.names = append(append(s.names, name...), 0)
	return offset
}

// add adds a type of three words and what follows them, and returns its number.
func (s *splitBTF) add(words ...uint32) uint32 {
	for _, w := range words {
		s.types = binary.NativeEndian.AppendUint32(s.types, w)
	}
	s.n++
	return s.firstType + s.n - 1
}

func (s *splitBTF) raw() []byte {
	b := binary.NativeEndian.AppendUint16(nil, 0xeb9f)
	b = append(b, 1, 0)
	for _, w := range []int{24, 0, len(s.types), len(s.types), len(s.names)} {
		b = binary.NativeEndian.AppendUint32(b, uint32(w))
	}
	return append(append(b, s.types...), s.names...)
}

// module returns the BTF of the running kernel, and that of a module which has a
// struct with members of the kernel's types, a typedef of it, and a kfunc.
func module(t *testing.T) (kernel, split []byte) {
	t.Helper()
	kernel, err := os.ReadFile(vmlinux)
	if err != nil {
		t.Skip("needs a kernel with BTF")
	}
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(kernel))
	if err != nil {
		t.Fatal(err)
	}
	id := func(name string, as any) uint32 {
		if err := spec.TypeByName(name, as); err != nil {
			t.Fatal(err)
		}
		var typ btf.Type
		switch as := as.(type) {
		case **btf.Struct:
			typ = *as
		case **btf.Int:
			typ = *as
		}
		id, err := spec.TypeID(typ)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(id)
	}
	var list, task *btf.Struct
	var number *btf.Int
	listID, taskID, intID := id("list_head", &list), id("task_struct", &task), id("int", &number)
	const pointer, structure, typedef, function, proto, declTag = 2 << 24, 4 << 24, 8 << 24, 12 << 24, 13 << 24, 17 << 24
	s := newSplitBTF(t, kernel)
	taskPtr := s.add(0, pointer, taskID)
	device := s.add(s.name("test_device"), structure|3, 32,
		s.name("list"), listID, 0,
		s.name("owner"), taskPtr, 8*16,
		s.name("count"), intID, 8*24)
	s.add(s.name("test_device_t"), typedef, device)
	devicePtr := s.add(0, pointer, device)
	open := s.add(0, proto|2, devicePtr, s.name("owner"), taskPtr, s.name("flags"), intID)
	fn := s.add(s.name("test_device_open"), function, open)
	s.add(s.name("bpf_kfunc"), declTag, fn, 0xffffffff)
	return kernel, s.raw()
}

// loadModule decodes both, in the way of the subcommand.
func loadModule(t *testing.T, kernel, split []byte) *cheader.Types {
	t.Helper()
	base, err := cheader.Load(kernel, nil)
	if err != nil {
		t.Fatal(err)
	}
	types, err := cheader.Load(split, base)
	if err != nil {
		t.Fatal(err)
	}
	return types
}

func TestModule(t *testing.T) {
	kernel, split := module(t)
	types := loadModule(t, kernel, split)
	names := []string{"test_device_t", "test_device_open", "task_struct"}
	header, err := types.Header(names)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\nstruct test_device {\n\tstruct list_head list;\n\tstruct task_struct *owner;\n\tint count;\n};\n",
		"typedef struct test_device test_device_t;",
		"extern struct test_device *test_device_open(struct task_struct *owner, int flags) ",
	} {
		if !strings.Contains(string(header), want) {
			t.Errorf("no %q in the header", want)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "vmlinux.h"), header, 0o666); err != nil {
		t.Fatal(err)
	}
	clang(t, []byte(`#include "vmlinux.h"
_Static_assert(sizeof(test_device_t) == 32, "");
_Static_assert(__builtin_offsetof(struct test_device, count) == 24, "");
int pid_of_owner(struct test_device *d) { return d->owner->pid + (test_device_open(d->owner, 1) == 0); }
`), dir, "module.bpf.c")

	// The header of all types has those of both.
	all, err := types.Header(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nstruct test_device {", "\nstruct task_struct {", " *test_device_open("} {
		if !strings.Contains(string(all), want) {
			t.Errorf("no %q in the header of all types", want)
		}
	}

	// BTF with what they need of both is no module's any more.
	subset, err := types.Subset(names)
	if err != nil {
		t.Fatal(err)
	}
	checkHeader(t, subset)

	_, err = cheader.Load(split, nil)
	if err == nil || !strings.Contains(err.Error(), "give the kernel's BTF with -base") {
		t.Errorf("without the kernel's BTF: %v", err)
	}
	other, err := cheader.Load(raw(t, &btf.Int{Name: "int", Size: 4}), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cheader.Load(split, other); err == nil || !strings.Contains(err.Error(), "of the very kernel that the module is for") {
		t.Errorf("with the BTF of another kernel: %v", err)
	}
}

// The header of a module that is loaded has every type as the module has it. One
// is enough: most of the time goes into the kernel's own types.
func TestLoadedModule(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(filepath.Dir(vmlinux), "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if file == vmlinux {
			continue
		}
		kernel, err := os.ReadFile(vmlinux)
		if err != nil {
			t.Fatal(err)
		}
		split, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		base, err := btf.LoadSpecFromReader(bytes.NewReader(kernel))
		if err != nil {
			t.Fatal(err)
		}
		spec, err := btf.LoadSplitSpecFromReader(bytes.NewReader(split), base)
		if err != nil {
			t.Fatal(err)
		}
		source := load(t, kernel)
		for typ, err := range spec.All() {
			if err != nil {
				t.Fatal(err)
			}
			source = append(source, typ)
		}
		t.Log(file)
		checkTypes(t, loadModule(t, kernel, split), source)
		return
	}
	t.Skip("needs a module with BTF that is loaded, in /sys/kernel/btf")
}
