package bpfc_test

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/bpfc"
)

// openIn returns a function that finds headers beside the file that includes
// them and in directories.
func openIn(dirs ...string) bpfc.OpenFunc {
	return func(what bpfc.Lookup) (string, func() ([]byte, bool), bool) {
		search := dirs
		if !what.Angled {
			search = append([]string{filepath.Dir(what.From)}, dirs...)
		}
		for _, dir := range search {
			name := filepath.Join(dir, what.Path)
			if info, err := os.Stat(name); err == nil && !info.IsDir() {
				return name, func() ([]byte, bool) {
					content, err := os.ReadFile(name)
					return content, err == nil
				}, true
			}
		}
		return "", nil, false
	}
}

// disagreements compares what the scanner says of a file with the symbol table of
// the object that clang made of it.
func disagreements(file *bpfc.File, object string) ([]string, error) {
	want, err := objectSymbols(object)
	if err != nil {
		return nil, err
	}
	got := make(map[string]string)
	for _, s := range file.Definitions() {
		text := "defined " + s.Linkage.String()
		if s.Hidden {
			text += " hidden"
		}
		if s.Kind == bpfc.Program || s.Kind == bpfc.Function {
			text += " code"
		} else {
			text += " data"
		}
		got[s.Name] = text
	}
	hasTypes := slices.ContainsFunc(file.Includes, func(i bpfc.Include) bool { return path.Base(i.Path) == "vmlinux.h" })
	for _, s := range file.Symbols {
		if s.Defined || !s.Used {
			continue
		}
		if _, is := want[s.Name]; s.Maybe && !is {
			// The compiler takes another association of _Generic.
			continue
		}
		text := "undefined " + s.Linkage.String()
		if s.Kernel() {
			text += " kernel"
			// vmlinux.h, of which the scanner reads the directives only, has weak declarations
			// of the kernel's functions.
			if weak := "undefined weak kernel"; hasTypes && want[s.Name] == weak {
				text = weak
			}
		}
		got[s.Name] = text
	}
	var out []string
	for name, text := range got {
		if want[name] != text {
			out = append(out, fmt.Sprintf("%s: scanner: %s; object: %s", name, text, orNothing(want[name])))
		}
	}
	for name, text := range want {
		if got[name] == "" {
			out = append(out, fmt.Sprintf("%s: scanner: nothing; object: %s", name, text))
		}
	}
	sort.Strings(out)
	return out, nil
}

func orNothing(text string) string {
	if text == "" {
		return "nothing"
	}
	return text
}

// objectSymbols describes the symbols of an object that other files see.
func objectSymbols(path string) (map[string]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	kernel := make(map[string]bool)
	// As bare types: of a whole object, the package refuses ksyms that have one.
	if types := f.Section(".BTF"); types != nil {
		data, err := types.Data()
		if err != nil {
			return nil, err
		}
		spec, err := btf.LoadSpecFromReader(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		for typ, err := range spec.All() {
			if err != nil {
				return nil, err
			}
			section, ok := typ.(*btf.Datasec)
			if !ok || section.Name != ".kconfig" && section.Name != ".ksyms" {
				continue
			}
			for _, v := range section.Vars {
				kernel[v.Type.TypeName()] = true
			}
		}
	}
	symbols, err := f.Symbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return nil, err
	}
	out := make(map[string]string)
	for _, s := range symbols {
		bind := elf.ST_BIND(s.Info)
		if bind != elf.STB_GLOBAL && bind != elf.STB_WEAK {
			continue
		}
		linkage := "global"
		if bind == elf.STB_WEAK {
			linkage = "weak"
		}
		if s.Section == elf.SHN_UNDEF {
			out[s.Name] = "undefined " + linkage
			if kernel[s.Name] {
				out[s.Name] += " kernel"
			}
			continue
		}
		text := "defined " + linkage
		if elf.ST_VISIBILITY(s.Other) == elf.STV_HIDDEN {
			text += " hidden"
		}
		if elf.ST_TYPE(s.Info) == elf.STT_FUNC {
			text += " code"
		} else {
			text += " data"
		}
		out[s.Name] = text
	}
	return out, nil
}

// TestCorpus compares the scanner with clang for a directory of C files that were
// compiled before. BPFC_CORPUS names the directory, BPFC_OBJECTS the directory of the
// objects, BPFC_INCLUDES directories of headers (a list like PATH), and BPFC_DEFINES
// the macros of the compile.
func TestCorpus(t *testing.T) {
	corpus := os.Getenv("BPFC_CORPUS")
	if corpus == "" {
		t.Skip("needs a corpus: set BPFC_CORPUS")
	}
	sources, err := filepath.Glob(filepath.Join(corpus, "*.c"))
	if err != nil || len(sources) == 0 {
		t.Fatalf("%s: no C files: %v", corpus, err)
	}
	includes := filepath.SplitList(os.Getenv("BPFC_INCLUDES"))
	scanner := bpfc.NewScanner(openIn(includes...))
	files, agree, notCompiled := 0, 0, 0
	for _, source := range sources {
		content, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		file := scanner.Scan(source, content, strings.Fields(os.Getenv("BPFC_DEFINES")))
		name := strings.TrimSuffix(filepath.Base(source), ".c")
		object := filepath.Join(os.Getenv("BPFC_OBJECTS"), name+".bpf.o")
		if _, err := os.Stat(object); err != nil {
			notCompiled++
			continue
		}
		files++
		for _, problem := range file.Problems {
			t.Errorf("%s: problem: %s:%d: %s", name, problem.Pos.File, problem.Pos.Line, problem.Text)
		}
		diffs, err := disagreements(file, object)
		if err != nil {
			t.Errorf("%s: %v", object, err)
			continue
		}
		if len(diffs) == 0 {
			agree++
		}
		for _, diff := range diffs {
			t.Errorf("%s: %s", name, diff)
		}
	}
	t.Logf("%d files, %d without an object, %d of %d agree", len(sources), notCompiled, agree, files)
}
