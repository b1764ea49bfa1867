package skelgen_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/internal/subskel"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/imagegen"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker"
	"github.com/rules-bpf/rules_bpf/tool/internal/objtest"
	"github.com/rules-bpf/rules_bpf/tool/internal/skelgen"
	"github.com/rules-bpf/rules_bpf/tool/internal/subskelobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/vmlinuxh"
)

// objects are those of the golden files, as clang writes them, as a linker does, and
// for the other byte order.
func objects() [][]byte {
	var all [][]byte
	for _, files := range []map[string]*objtest.File{golden, goldenSub} {
		for _, name := range slices.Sorted(maps.Keys(files)) {
			file := *files[name]
			all = append(all, file.Build())
			file.Linked = true
			all = append(all, file.Build())
			file.Order = binary.BigEndian
			all = append(all, file.Build())
		}
	}
	return all
}

// mutations is how many damaged objects TestMutated makes: a matter of seconds.
// FuzzMutated makes others for as long as it is let.
const mutations = 4000

// TestMutated takes damaged objects through all that bpfgen does with objects. There
// must be an error that people can read, or Go that compiles, an object that can be
// linked again, a header.
func TestMutated(t *testing.T) {
	inputs := objects()
	const per = 500
	for first := uint64(0); first < mutations; first += per {
		t.Run(fmt.Sprint(first), func(t *testing.T) {
			t.Parallel()
			for seed := first; seed < first+per; seed++ {
				checkMutated(t, inputs, seed)
			}
		})
	}
}

// FuzzMutated is TestMutated with seeds that nobody has tried.
func FuzzMutated(f *testing.F) {
	inputs := objects()
	f.Add(uint64(0))
	f.Fuzz(func(t *testing.T, seed uint64) { checkMutated(t, inputs, seed) })
}

func checkMutated(t *testing.T, inputs [][]byte, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	data, damage := objtest.Mutate(r, inputs[r.IntN(len(inputs))])
	m := &mutated{T: t, data: data, partial: r.IntN(2) == 0, compile: r.IntN(4) == 0}
	if r.IntN(2) == 0 {
		m.other = inputs[r.IntN(len(inputs))]
	}
	for _, step := range []struct {
		name string
		run  func()
	}{
		{"skeleton", m.skeleton}, {"subskeleton and check", m.subskeleton}, {"link", m.link}, {"vmlinux", m.vmlinux},
	} {
		m.found = nil
		func() {
			defer func() {
				if p := recover(); p != nil {
					m.report("panic: %v\n%s", p, debug.Stack())
				}
			}()
			step.run()
		}()
		for _, found := range m.found {
			t.Errorf("seed %d (%s): %s: %s", seed, damage, step.name, found)
		}
	}
}

// mutated is a damaged object.
type mutated struct {
	*testing.T
	data, other      []byte
	partial, compile bool
	found            []string
}

func (m *mutated) report(format string, args ...any) {
	m.found = append(m.found, fmt.Sprintf(format, args...))
}

// readable reports an error that people cannot read, or that does not say of which
// file it is.
func (m *mutated) readable(err error, files ...string) {
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.ContainsFunc(line, unreadable) {
			m.report("error with a line that is not readable: %q", line)
		}
		if strings.Contains(line, "runtime error") || strings.Contains(line, "defect of bpfgen") {
			m.report("a defect was caught: %s", line)
		}
		if len(line) > 4000 {
			m.report("error with a line of %d bytes: %.200s", len(line), line)
		}
	}
	if len(files) > 0 && !slices.ContainsFunc(files, func(file string) bool { return strings.Contains(err.Error(), file) }) {
		m.report("error that names no file: %v", err)
	}
}

// unreadable reports whether a terminal or an editor shows the character as what it is
// not.
func unreadable(r rune) bool {
	return r < ' ' && r != '\t' || r == '\ufffd' || r == '\u2028' || r == '\u2029' || '\u202a' <= r && r <= '\u202e' || '\u2066' <= r && r <= '\u2069'
}

// source checks generated Go: that nothing of the object has become code.
func (m *mutated) source(src []byte) {
	file, err := parser.ParseFile(token.NewFileSet(), "fuzz.go", src, parser.ParseComments)
	if err != nil {
		m.report("is not Go: %v\n%s", err, src)
		return
	}
	ast.Inspect(file, func(node ast.Node) bool {
		if c, ok := node.(*ast.Comment); ok {
			for _, directive := range []string{"//go:", "//line", "// +build", "//export"} {
				if strings.HasPrefix(c.Text, directive) {
					m.report("has a directive: %s", c.Text)
				}
			}
			if strings.ContainsFunc(strings.ReplaceAll(c.Text, "\n", ""), unreadable) {
				m.report("has a comment that is not readable: %q", c.Text)
			}
		}
		return true
	})
	// The slowest part by far; all are parsed.
	if !m.compile {
		return
	}
	for _, arch := range []string{"amd64", "386"} {
		if err := typeCheck(src, arch); err != nil {
			m.report("does not compile for %s: %v\n%s", arch, err, src)
		}
	}
}

func (m *mutated) skeleton() {
	obj, err := bpfobj.Read("a.bpf.o", m.data)
	if err != nil {
		m.readable(err)
		return
	}
	loaded, err := imagegen.Build("x.bpf.o", m.data)
	if err != nil {
		m.readable(err)
		return
	}
	src, err := skelgen.Skeleton(obj, loaded, skelgen.Options{Package: "fuzz"})
	if err != nil {
		m.readable(err)
		return
	}
	m.source(src)
}

func (m *mutated) subskeleton() {
	lib, err := bpfobj.ReadLibrary("a.bpf.o", m.data)
	if err != nil {
		m.readable(err)
		return
	}
	src, err := skelgen.Subskeleton(lib, skelgen.Options{Package: "fuzz"})
	if err != nil {
		m.readable(err)
		return
	}
	m.source(src)
	needs := subskelobj.Library(lib)
	raw, err := needs.Marshal()
	if err != nil {
		m.readable(err)
		return
	}
	carried, err := subskel.Unmarshal(raw)
	if err != nil {
		m.report("what the code carries cannot be read again: %v", err)
		return
	}
	obj, err := bpfobj.Read("a.bpf.o", m.data)
	if err != nil {
		return
	}
	if err := subskel.Check(carried, subskelobj.Object(obj)); err != nil {
		m.readable(err)
	}
}

func (m *mutated) link() {
	in := []linker.Input{{Name: "a.bpf.o", Data: m.data}}
	if m.other != nil {
		in = append(in, linker.Input{Name: "b.bpf.o", Data: m.other})
	}
	linked, err := linker.Link(in, linker.Options{Partial: m.partial})
	if err != nil {
		m.readable(err, "a.bpf.o", "b.bpf.o")
		return
	}
	if _, err := linker.Link([]linker.Input{{Name: "linked.o", Data: linked}}, linker.Options{Partial: true}); err != nil {
		m.report("cannot be linked again: %v", err)
	}
	if _, err := elf.NewFile(bytes.NewReader(linked)); err != nil {
		m.report("is not an ELF file: %v", err)
	}
}

func (m *mutated) vmlinux() {
	file, err := elf.NewFile(bytes.NewReader(m.data))
	if err != nil {
		return
	}
	section := file.Section(".BTF")
	if section == nil || section.Size > uint64(len(m.data)) {
		return
	}
	raw, err := section.Data()
	if err != nil {
		return
	}
	types, err := vmlinuxh.Load(raw, nil)
	if err != nil {
		m.readable(err)
		return
	}
	if header, err := types.Header(nil); err != nil {
		m.readable(err)
	} else if strings.ContainsFunc(strings.ReplaceAll(string(header), "\n", ""), unreadable) {
		m.report("header is not readable:\n%q", header)
	}
	if _, err := types.Subset([]string{"task_struct", "point"}); err != nil {
		m.readable(err)
	}
}
