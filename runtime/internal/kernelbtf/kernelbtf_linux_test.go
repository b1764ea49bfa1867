package kernelbtf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

func TestOpen(t *testing.T) {
	want, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("needs a kernel with BTF: /sys/kernel/btf/vmlinux is not there")
	}
	if err != nil {
		t.Fatal(err)
	}
	k, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	if len(k.memory) != 1 || !bytes.Contains(k.memory[0], want) {
		t.Error("what is in memory is not what the file has")
	}
	found := 0
	k.Types().Named(rawbtf.NewNames("task_struct"), func(string, rawbtf.Type) { found++ })
	if found == 0 {
		t.Error("the kernel has no struct task_struct")
	}
	files, err := os.ReadDir("/sys/kernel/btf")
	if err != nil {
		t.Fatal(err)
	}
	if got := len(k.Modules()); got != len(files)-1 {
		t.Errorf("%d modules, want %d: %v", got, len(files)-1, k.Unreadable())
	}
	for _, module := range k.Modules() {
		// What is in a module refers to the kernel's types too.
		for id := k.Types().Len(); id < module.Len(); id++ {
			typ := module.At(id)
			typ.Name()
			typ.SizeOf()
		}
	}
	lasting, first := k.lasting, &k.memory[0][0]
	k.Close()
	if k.memory != nil {
		t.Error("memory is left after Close")
	}
	k.Close()
	// What is mapped is used again, and by one at a time.
	again, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	other, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	if lasting && &again.memory[0][0] != first {
		t.Error("the kernel's BTF is mapped again")
	}
	if &other.memory[0][0] == &again.memory[0][0] || other.Types() == again.Types() {
		t.Error("two have the same types")
	}
	again.Close()
	other.Close()
}

// Where the kernel's BTF cannot be mapped, it is read.
func TestRead(t *testing.T) {
	want, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		t.Skipf("needs a kernel with BTF: %v", err)
	}
	f, err := os.Open("/sys/kernel/btf/vmlinux")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	k := new(Kernel)
	defer k.Close()
	for range 2 {
		data, err := k.read(f, len(want))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data, want) {
			t.Error("what is read is not what the file has")
		}
		if _, err := f.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
	}
	small, err := k.read(f, 100)
	if err != nil || !bytes.Equal(small, want[:100]) {
		t.Errorf("the first bytes: %v", err)
	}
}

// Names that the kernel lacks are those to look for in modules.
func TestSearch(t *testing.T) {
	k, err := Open()
	if err != nil {
		t.Skipf("needs a kernel with BTF: %v", err)
	}
	defer k.Close()
	k.Search(rawbtf.NewNames("task_struct", "no_such_name"))
	if lacking := k.Types().Lacking(k.names); lacking.Len() != 1 {
		t.Errorf("%d names are lacking, want 1", lacking.Len())
	}
	for _, name := range []string{"", "vmlinux", "../btf/vmlinux", "no_such_module"} {
		if k.Module(name) != nil {
			t.Errorf("there is a module %q", name)
		}
	}
	if fd, err := k.FD(k.Types()); fd != 0 || err != nil {
		t.Errorf("descriptor of the kernel's own: %d, %v", fd, err)
	}
	for _, types := range k.Modules() {
		if fd, err := k.FD(types); fd == 0 || err != nil {
			t.Errorf("descriptor of a module: %d, %v", fd, err)
		}
	}
	if err := k.Unreadable(); err != nil {
		t.Error(err)
	}
}

// Modules are read for what the kernel lacks, and those that cannot be read are none.
func TestModules(t *testing.T) {
	k, err := Open()
	if err != nil {
		t.Skipf("needs a kernel with BTF: %v", err)
	}
	defer k.Close()
	// A structure of the module's own, whose name follows those of the kernel.
	own, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		t.Skipf("needs a kernel with BTF: %v", err)
	}
	kernel, err := rawbtf.New(own, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := rawbtf.NewBuilder(binary.NativeEndian, kernel)
	b.Add(b.Intern("of_module"), rawbtf.Struct, 0, 0)
	module, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	modules := map[string][]byte{"good": module, "empty": {}, "short": module[:20], "other": []byte("what is this, which is no BTF")}
	if !kerneltest.WithModules(t, modules) {
		return
	}
	k.Search(rawbtf.NewNames("task_struct", "of_module"))
	if _, ok := k.Types().Find("task_struct", rawbtf.Struct); !ok || len(k.modules) > 0 {
		t.Errorf("task_struct: %v, %d modules were read", ok, len(k.modules))
	}
	if m := k.Module("good"); m == nil || len(k.modules) != 1 {
		t.Error("a module is not read alone")
	}
	types := k.Modules()
	if len(types) != 1 {
		t.Fatalf("%d modules, want 1", len(types))
	}
	if typ, ok := types[0].Find("of_module", rawbtf.Struct); !ok || typ.ID != k.Types().Len() {
		t.Errorf("of_module is type %d, %v", typ.ID, ok)
	}
	text := fmt.Sprint(k.Unreadable())
	for name, want := range map[string]string{"empty": "is damaged", "short": "is damaged", "other": "is not BTF"} {
		if !strings.Contains(text, "BTF of module "+name+": "+want) {
			t.Errorf("%q does not mention module %s", text, name)
		}
	}
	// The kernel itself has no such module.
	if _, err := k.FD(types[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("descriptor of a module that is not there: %v", err)
	}
}

// A program's types are those that it was loaded with.
func TestOfProgram(t *testing.T) {
	bpftest.NeedsBPF(t)
	b := rawbtf.NewBuilder(binary.NativeEndian, nil)
	proto := b.Add(0, rawbtf.FuncProto, 0, b.AddInt("int", 4)) // int f(void)
	b.Add(b.Intern("f"), rawbtf.Func, 0, proto)
	raw, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	btf, err := sys.BTFLoad(&sys.BTFLoadAttr{BTF: sys.PointerToSlice(raw), Size: uint32(len(raw))})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close(btf)
	code := []byte{0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0}
	attr := sys.ProgLoadAttr{
		Type: 1, InsnCount: 2, Insns: sys.PointerToSlice(code), License: sys.CString("GPL"),
		BTFFD: uint32(btf), FuncInfoSize: 8, FuncInfo: sys.PointerToSlice([]uint32{0, 3}), FuncInfoCount: 1,
	}
	prog, err := sys.ProgLoad(&attr, false)
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close(prog)
	got, err := OfProgram(prog)
	if err != nil {
		t.Fatal(err)
	}
	if f := got.At(3); f.Kind() != rawbtf.Func || f.Name() != "f" {
		t.Errorf("type 3 is %v %q", f.Kind(), f.Name())
	}
	attr.BTFFD, attr.FuncInfoCount = 0, 0
	without, err := sys.ProgLoad(&attr, false)
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close(without)
	if _, err := OfProgram(without); err == nil {
		t.Error("a program without BTF has types")
	}
}

func BenchmarkOpen(b *testing.B) {
	names := rawbtf.NewNames("task_struct", "sock", "mm_struct", "file", "pid", "cred", "btf_trace_sched_switch")
	b.Run("mapped", func(b *testing.B) {
		for b.Loop() {
			unused.Store(nil)
			k, err := Open()
			if err != nil {
				b.Skipf("needs a kernel with BTF: %v", err)
			}
			k.Search(names)
			k.lasting = false
			k.Close()
		}
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			f, err := os.Open("/sys/kernel/btf/vmlinux")
			if err != nil {
				b.Skipf("needs a kernel with BTF: %v", err)
			}
			info, err := f.Stat()
			if err != nil {
				b.Fatal(err)
			}
			k := new(Kernel)
			data, err := k.read(f, int(info.Size()))
			if err != nil {
				b.Fatal(err)
			}
			f.Close()
			if k.vmlinux, err = rawbtf.New(data, nil); err != nil {
				b.Fatal(err)
			}
			k.Search(names)
			k.Close()
		}
	})
}
