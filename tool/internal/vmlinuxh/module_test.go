package vmlinuxh_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/tool/internal/vmlinuxh"
)

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
	types, err := rawbtf.Parse(kernel, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := rawbtf.NewBuilder(types.Order(), types)
	taskPtr := s.Add(0, rawbtf.Ptr, 0, taskID)
	device := s.Add(s.Intern("test_device"), rawbtf.Struct, 3, 32,
		s.Intern("list"), listID, 0,
		s.Intern("owner"), taskPtr, 8*16,
		s.Intern("count"), intID, 8*24)
	s.Add(s.Intern("test_device_t"), rawbtf.Typedef, 0, device)
	devicePtr := s.Add(0, rawbtf.Ptr, 0, device)
	open := s.Add(0, rawbtf.FuncProto, 2, devicePtr, s.Intern("owner"), taskPtr, s.Intern("flags"), intID)
	fn := s.Add(s.Intern("test_device_open"), rawbtf.Func, 0, open)
	s.Add(s.Intern("bpf_kfunc"), rawbtf.DeclTag, 0, fn, 0xffffffff)
	if split, err = s.Bytes(); err != nil {
		t.Fatal(err)
	}
	return kernel, split
}

// loadModule decodes both, in the way of the subcommand.
func loadModule(t *testing.T, kernel, split []byte) *vmlinuxh.Types {
	t.Helper()
	base, err := vmlinuxh.Load(kernel, nil)
	if err != nil {
		t.Fatal(err)
	}
	types, err := vmlinuxh.Load(split, base)
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

	_, err = vmlinuxh.Load(split, nil)
	if err == nil || !strings.Contains(err.Error(), "give the kernel's BTF with -base") {
		t.Errorf("without the kernel's BTF: %v", err)
	}
	other, err := vmlinuxh.Load(raw(t, &btf.Int{Name: "int", Size: 4}), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vmlinuxh.Load(split, other); err == nil || !strings.Contains(err.Error(), "of the very kernel that the module is for") {
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
