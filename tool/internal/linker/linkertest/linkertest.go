// Package linkertest compiles C for tests of the linker, and checks linked objects
// for what must be true of each.
package linkertest

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker"
	"github.com/rules-bpf/rules_bpf/tool/internal/normalise"
	"github.com/rules-bpf/rules_bpf/tool/internal/rawbtf"
)

// Prelude is what each C file includes.
const Prelude = `
#define SEC(name) __attribute__((section(name)))
#define __weak __attribute__((weak))
#define __hidden __attribute__((visibility("hidden")))
#define __noinline __attribute__((noinline))
#define __kconfig SEC(".kconfig")
#define __ksym SEC(".ksyms")
#define __arena __attribute__((address_space(1)))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name
#define __array(name, val) typeof(val) *name[]
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
static void *(*lookup)(void *map, const void *key) = (void *) 1;
`

// Compile compiles the files for a target, bpfel or bpfeb, and returns the objects
// in the same order, called 0.o, 1.o and so on, of files called 0.c, 1.c and so on. It
// skips the test where there is no clang.
func Compile(t testing.TB, target string, files ...string) []linker.Input {
	t.Helper()
	clang, err := exec.LookPath("clang")
	if err != nil {
		t.Skip("needs clang on PATH")
	}
	dir := t.TempDir()
	args := []string{"-g", "-O2", "-mcpu=v3", "-target", target, "-Wall", "-Wno-unused", "-include", "prelude.h", "-c"}
	if err := os.WriteFile(filepath.Join(dir, "prelude.h"), []byte(Prelude), 0o644); err != nil {
		t.Fatal(err)
	}
	for i, text := range files {
		name := fmt.Sprintf("%d.c", i)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, name)
	}
	cmd := exec.Command(clang, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	inputs := make([]linker.Input, len(files))
	for i := range files {
		name := fmt.Sprintf("%d.o", i)
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		inputs[i] = linker.Input{Name: name, Data: data}
	}
	return inputs
}

// Spec returns the object as the loader of generated code reads it.
func Spec(data []byte) (*ebpf.CollectionSpec, error) {
	loaded, err := normalise.Bytes(data)
	if err != nil {
		return nil, err
	}
	return ebpf.LoadCollectionSpecFromReader(bytes.NewReader(loaded.ELF))
}

// Check returns what is wrong with a linked object: lists of variables that
// contradict the symbols, relocations of nothing, code that belongs to no function
// or is not described. With final it also wants nothing undefined but what the
// kernel defines.
func Check(data []byte, final bool) error {
	file, err := elfobj.Parse(data)
	if err != nil {
		return err
	}
	raw, err := rawbtf.Parse(file.Section(".BTF").Data, file.Order)
	if err != nil {
		return err
	}
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	kernel := checkLists(file, raw, final, fail)
	for _, sym := range file.Symbols {
		if final && sym.Section == nil && sym.Index == elf.SHN_UNDEF && !kernel[sym.Name] {
			fail("%s: is undefined", sym.Name)
		}
		if final && sym.Bind == elf.STB_WEAK && sym.Section != nil {
			fail("%s: is weak", sym.Name)
		}
	}
	checkCode(file, raw, fail)
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if final {
		if _, err := bpfobj.Read("linked", data); err != nil {
			return err
		}
	}
	return nil
}

// checkLists checks the lists of variables, and returns the names that the kernel
// defines.
func checkLists(file *elfobj.File, raw *rawbtf.BTF, final bool, fail func(string, ...any)) map[string]bool {
	kernel := make(map[string]bool)
	lists := make(map[string]bool)
	for id := range raw.Len() {
		if raw.Kind(id) != rawbtf.Datasec {
			continue
		}
		name := raw.Name(id)
		if lists[name] {
			fail("section %s: is listed twice", name)
		}
		lists[name] = true
		size := uint64(0)
		sec := file.Section(name)
		if sec != nil {
			size = uint64(len(sec.Data)) + sec.Size
		} else if final && name != ".kconfig" && name != ".ksyms" {
			fail("section %s: is listed and does not exist", name)
		}
		if uint64(raw.Size(id)) != size {
			fail("section %s: has %d bytes, and %d in BTF", name, size, raw.Size(id))
		}
		last := uint32(0)
		seen := make(map[uint32]bool)
		for i := range raw.Vlen(id) {
			v := raw.Secinfo(id, i)
			if v.Offset < last {
				fail("section %s: %s is not in order", name, raw.Name(v.ID))
			}
			last = v.Offset
			if seen[v.ID] {
				fail("section %s: %s is listed twice", name, raw.Name(v.ID))
			}
			seen[v.ID] = true
			switch raw.Linkage(v.ID) {
			case rawbtf.Extern:
				kernel[raw.Name(v.ID)] = true
				if final && sec != nil {
					fail("section %s: %s is extern", name, raw.Name(v.ID))
				}
			default:
				if !hasSymbol(file, sec, raw.Name(v.ID), v, raw.Linkage(v.ID) == rawbtf.Static) {
					fail("section %s: no symbol is where BTF has %s, at %d", name, raw.Name(v.ID), v.Offset)
				}
			}
		}
	}
	return kernel
}

func hasSymbol(file *elfobj.File, sec *elfobj.Section, name string, v rawbtf.Secinfo, static bool) bool {
	for _, sym := range file.Symbols {
		if sym.Section == sec && sym.Name == name && (sym.Bind == elf.STB_LOCAL) == static && sym.Value == uint64(v.Offset) && sym.Size == uint64(v.Size) {
			return true
		}
	}
	return false
}

// checkCode checks that each byte of code is in one function, whose record in
// .BTF.ext is of the same name, and that relocations are of what exists.
func checkCode(file *elfobj.File, raw *rawbtf.BTF, fail func(string, ...any)) {
	ext := new(rawbtf.Ext)
	if sec := file.Section(".BTF.ext"); sec != nil {
		var err error
		if ext, err = rawbtf.ParseExt(sec.Data, file.Order); err != nil {
			fail("%w", err)
			return
		}
	}
	described := make(map[string]string)
	for _, sec := range ext.Funcs {
		name, _ := raw.String(sec.Name)
		last := -1
		for _, f := range sec.Records {
			if int(f.Offset) <= last {
				fail("section %s: functions are not in order", name)
			}
			last = int(f.Offset)
			if raw.Kind(f.Type) != rawbtf.Func {
				fail("section %s: type %d is no function", name, f.Type)
				continue
			}
			described[fmt.Sprintf("%s+%d", name, f.Offset)] = raw.Name(f.Type)
		}
	}
	for _, sec := range ext.Lines {
		name, _ := raw.String(sec.Name)
		last := -1
		for _, l := range sec.Records {
			if int(l.Offset) <= last {
				fail("section %s: lines are not in order", name)
			}
			last = int(l.Offset)
		}
	}
	for _, sec := range file.Sections {
		if sec.Flags&elf.SHF_EXECINSTR == 0 {
			continue
		}
		covered := make([]bool, len(sec.Data))
		for _, sym := range file.Symbols {
			if sym.Section != sec || sym.Type != elf.STT_FUNC {
				continue
			}
			at := fmt.Sprintf("%s+%d", sec.Name, sym.Value)
			if described[at] != sym.Name {
				fail("%s: function %s is described as %q", at, sym.Name, described[at])
			}
			delete(described, at)
			for i := range sym.Size {
				if covered[sym.Value+i] {
					fail("%s: overlaps another function", sym.Name)
					break
				}
				covered[sym.Value+i] = true
			}
		}
		if i := bytes.IndexByte(boolBytes(covered), 0); i >= 0 {
			fail("section %s: byte %d is in no function", sec.Name, i)
		}
	}
	for at, name := range described {
		fail("%s: is described as function %s, and there is none", at, name)
	}
	for _, sec := range file.Sections {
		for _, r := range sec.Relocs {
			if r.Offset >= uint64(len(sec.Data)) || r.Symbol == nil {
				fail("section %s: a relocation of nothing at %d", sec.Name, r.Offset)
			}
		}
	}
}

func boolBytes(bs []bool) []byte {
	var b strings.Builder
	for _, v := range bs {
		if v {
			b.WriteByte(1)
		} else {
			b.WriteByte(0)
		}
	}
	return []byte(b.String())
}
