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
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker"
	"github.com/rules-bpf/rules_bpf/tool/internal/loadform"
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

// Final returns an object as the last link leaves it: without what no loader reads, in
// the form that loaders take.
func Final(data []byte) ([]byte, error) {
	file, err := final(data)
	if err != nil {
		return nil, err
	}
	return file.Bytes()
}

func final(data []byte) (*elfobj.File, error) {
	file, err := elfobj.Parse(data)
	if err != nil {
		return nil, err
	}
	dropped := func(sec *elfobj.Section) bool { return !bpfobj.IsLoaded(sec) }
	file.Symbols = slices.DeleteFunc(file.Symbols, func(sym *elfobj.Symbol) bool {
		return sym.Section != nil && (dropped(sym.Section) || sym.Section.IsCode() && sym.Type == elf.STT_NOTYPE)
	})
	file.Sections = slices.DeleteFunc(file.Sections, dropped)
	for _, sec := range file.Sections {
		if sec.Name == ".BTF" || sec.Name == ".BTF.ext" {
			sec.Relocs = nil
		}
	}
	return file, loadform.Final(file)
}

// Spec returns the object, linked or not, as the ELF reader of cilium/ebpf reads it,
// which knows .bss by its full name only: .bss.x is .data.bss.x.
func Spec(data []byte) (*ebpf.CollectionSpec, error) {
	file, err := final(data)
	if err != nil {
		return nil, err
	}
	types, err := bpfobj.ParseBTF(file.Section(".BTF").Data, file.Order)
	if err != nil {
		return nil, err
	}
	btf := types.Edit()
	for _, sec := range file.Sections {
		if strings.HasPrefix(sec.Name, ".bss.") {
			for id := range btf.Len() {
				if t := btf.At(id); t.Kind() == rawbtf.Datasec && t.Name() == sec.Name {
					t.SetName(btf.Intern(".data" + sec.Name))
				}
			}
			sec.Name = ".data" + sec.Name
		}
	}
	if file.Section(".BTF").Data, err = btf.Bytes(); err != nil {
		return nil, err
	}
	if data, err = file.Bytes(); err != nil {
		return nil, err
	}
	return ebpf.LoadCollectionSpecFromReader(bytes.NewReader(data))
}

// Check returns what is wrong with a linked object: DATASECs that
// contradict the symbols, relocations of nothing, code that belongs to no function
// or is not described. With final it also wants nothing undefined but what the
// kernel defines.
func Check(data []byte, final bool) error {
	file, err := elfobj.Parse(data)
	if err != nil {
		return err
	}
	raw, err := bpfobj.ParseBTF(file.Section(".BTF").Data, file.Order)
	if err != nil {
		return err
	}
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	kernel := checkDatasecs(file, raw, final, fail)
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

// checkDatasecs checks the DATASECs, and returns the names that the kernel
// defines.
func checkDatasecs(file *elfobj.File, raw *rawbtf.Types, final bool, fail func(string, ...any)) map[string]bool {
	kernel := make(map[string]bool)
	datasecs := make(map[string]bool)
	for id := range raw.Len() {
		if raw.At(id).Kind() != rawbtf.Datasec {
			continue
		}
		name := raw.At(id).Name()
		if datasecs[name] {
			fail("section %s: is there twice", name)
		}
		datasecs[name] = true
		size := uint64(0)
		sec := file.Section(name)
		if sec != nil {
			size = uint64(len(sec.Data)) + sec.Size
		} else if final && name != ".kconfig" && name != ".ksyms" {
			fail("section %s: has a DATASEC and does not exist", name)
		}
		if uint64(raw.At(id).ByteSize()) != size {
			fail("section %s: has %d bytes, and %d in BTF", name, size, raw.At(id).ByteSize())
		}
		last := uint32(0)
		seen := make(map[uint32]bool)
		for i := range raw.At(id).Vlen() {
			v := raw.At(id).Secinfo(i)
			if v.Offset < last {
				fail("section %s: %s is not in order", name, raw.At(v.Type).Name())
			}
			last = v.Offset
			if seen[v.Type] {
				fail("section %s: %s is there twice", name, raw.At(v.Type).Name())
			}
			seen[v.Type] = true
			switch raw.At(v.Type).Linkage() {
			case rawbtf.Extern:
				kernel[raw.At(v.Type).Name()] = true
				if final && sec != nil {
					fail("section %s: %s is extern", name, raw.At(v.Type).Name())
				}
			default:
				if !hasSymbol(file, sec, raw.At(v.Type).Name(), v, raw.At(v.Type).Linkage() == rawbtf.Static) {
					fail("section %s: no symbol is where BTF has %s, at %d", name, raw.At(v.Type).Name(), v.Offset)
				}
			}
		}
	}
	return kernel
}

func hasSymbol(file *elfobj.File, sec *elfobj.Section, name string, v rawbtf.Secinfo, static bool) bool {
	for _, sym := range file.Symbols {
		if sym.Section == sec && isCalled(name, sym.Name, "_", static) && (sym.Bind == elf.STB_LOCAL) == static && sym.Value == uint64(v.Offset) && sym.Size == uint64(v.Size) {
			return true
		}
	}
	return false
}

// isCalled reports whether a name is that one, or that one with the suffix that a
// static name gets where another file has it too.
func isCalled(name, without, separator string, static bool) bool {
	number, ok := strings.CutPrefix(name, without+separator)
	return name == without || static && ok && number != "" && strings.Trim(number, "0123456789") == ""
}

// checkCode checks that each byte of code is in one function, whose record in
// .BTF.ext is of the same name, and that relocations are of what exists.
func checkCode(file *elfobj.File, raw *rawbtf.Types, fail func(string, ...any)) {
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
		name := raw.String(sec.Name)
		last := -1
		for _, f := range sec.Records {
			if int(f.Offset) <= last {
				fail("section %s: functions are not in order", name)
			}
			last = int(f.Offset)
			if raw.At(f.Type).Kind() != rawbtf.Func {
				fail("section %s: type %d is not a function", name, f.Type)
				continue
			}
			described[fmt.Sprintf("%s+%d", name, f.Offset)] = raw.At(f.Type).Name()
		}
	}
	for _, sec := range ext.Lines {
		name := raw.String(sec.Name)
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
			if !isCalled(sym.Name, described[at], ".", sym.Bind == elf.STB_LOCAL) {
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
