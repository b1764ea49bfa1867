package propertytest_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker/linkertest"
)

var (
	cases   = flag.Int("n", 24, "number of random sets of files to link")
	seed    = flag.Uint64("seed", 1, "number of the first set")
	bpftool = flag.String("bpftool", "", "bpftool to link with too, where its linker is not known to be wrong")
)

// A program is a random set of C files, and what each of them must see.
//
// All files draw from the same few names. In each file a name is a global variable
// or function, a weak one, a declaration, a static one, or not there. Which
// definition a declaration means is decided here by the rules, and never by what
// the linker did: the files are generated from the decision, and each has a
// program that adds up all that the file sees, with a factor per name.
type program struct {
	r     *rand.Rand
	files []file
	// quirks says that the program has what libbpf's linker gets wrong.
	quirks bool
	// winners are the definitions by name.
	winners map[string]*item
}

type file struct{ items []*item }

// item is what a file has under a name.
type item struct {
	name string
	file int
	kind kind
	role role
	// value is a variable's initial value, what a function adds, or what the test
	// puts into a map.
	value   uint64
	section string
	hidden  bool
	// length is the number of elements of an array, 0 for a plain variable.
	length int
	// calls is the name that a function adds the value of.
	calls *item
}

type kind int

const (
	variable kind = iota
	function
	mapping
)

type role int

const (
	absent role = iota
	strong
	weak
	declared
	weakDeclared
	static
)

// newProgram makes a program. The same seed makes the same one.
func newProgram(seed uint64) *program {
	p := &program{r: rand.New(rand.NewPCG(seed, 0)), winners: make(map[string]*item)}
	p.files = make([]file, 2+p.r.IntN(3))
	for i := range 7 {
		p.add(fmt.Sprintf("v%d", i), variable)
	}
	for i := range 4 {
		p.add(fmt.Sprintf("f%d", i), function)
	}
	for i := range 2 {
		p.add(fmt.Sprintf("m%d", i), mapping)
	}
	for i := range p.files {
		p.r.Shuffle(len(p.files[i].items), func(a, b int) {
			items := p.files[i].items
			items[a], items[b] = items[b], items[a]
		})
	}
	p.addCalls()
	return p
}

// add gives each file its role for a name.
func (p *program) add(name string, k kind) {
	length := 0
	if k == variable && p.r.IntN(4) == 0 {
		length = 1 + p.r.IntN(4)
	}
	items := make([]*item, len(p.files))
	strongAt := -1
	if p.r.IntN(2) == 0 {
		strongAt = p.r.IntN(len(p.files))
	}
	for i := range items {
		it := &item{name: name, file: i, kind: k, value: uint64(1 + p.r.IntN(1000)), length: length}
		switch n := p.r.IntN(10); {
		case i == strongAt:
			it.role = strong
		case n < 3:
			it.role = declared
		case n < 6:
			it.role = weak
		case n < 8 && k != mapping:
			it.role = static
		case n < 9 && k != mapping:
			it.role = weakDeclared
		}
		it.hidden = it.role != absent && it.role != static && k != mapping && p.r.IntN(8) == 0
		if k == variable {
			it.section = p.section()
			if it.section == ".bss" || it.section == ".bss.x" {
				it.value = 0
			}
		}
		items[i] = it
	}
	var winner *item
	for _, it := range items {
		switch {
		case it.role == strong, it.role == weak && winner == nil:
			winner = it
		}
	}
	if strongAt >= 0 {
		winner = items[strongAt]
	}
	p.winners[name] = winner
	for i, it := range items {
		if winner == nil && it.role == declared {
			it.role = absent
		}
		p.files[i].items = append(p.files[i].items, it)
		p.noteQuirks(items, it)
	}
}

// noteQuirks finds what libbpf's linker is known to get wrong: a name that is both
// static and global, one that is seen before its definition, and declarations
// without a definition, which libbpf cannot load.
func (p *program) noteQuirks(items []*item, it *item) {
	winner := p.winners[it.name]
	switch it.role {
	case static:
		p.quirks = p.quirks || slices.ContainsFunc(items, func(o *item) bool { return o.role != static && o.role != absent })
	case declared, weak:
		p.quirks = p.quirks || it.file < winner.file || it.section != winner.section
	case weakDeclared:
		p.quirks = p.quirks || winner == nil || it.file < winner.file
	}
}

func (p *program) section() string {
	sections := []string{".data", ".bss", ".rodata", ".data.x", ".bss.x", ".rodata.x"}
	return sections[p.r.IntN(len(sections))]
}

// addCalls lets functions use other names: variables, and functions of higher
// numbers, so that there is no recursion.
func (p *program) addCalls() {
	for i := range p.files {
		for _, it := range p.files[i].items {
			if it.kind != function || it.role == declared || it.role == weakDeclared {
				continue
			}
			o := p.files[i].items[p.r.IntN(len(p.files[i].items))]
			if o.role != absent && o.role != weakDeclared && (o.kind == variable || o.kind == function && o.name > it.name) {
				it.calls = o
			}
		}
	}
}

// sees returns the definition that a name means in a file, nil if there is none.
func (p *program) sees(it *item) *item {
	switch it.role {
	case absent:
		return nil
	case static:
		return it
	}
	return p.winners[it.name]
}

// result returns what using a name in a file gives.
func (p *program) result(it *item) uint64 {
	def := p.sees(it)
	if def == nil {
		return 0
	}
	sum := def.value
	if def.kind == function {
		sum += 3
		if def.calls != nil {
			sum += p.result(def.calls)
		}
	}
	return sum
}

// want returns what the program of a file computes.
func (p *program) want(i int) uint64 {
	sum := uint64(0)
	for n, it := range p.files[i].items {
		sum += uint64(n+1) * p.result(it)
	}
	return sum
}

// source returns a file in C.
func (p *program) source(i int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "char LICENSE[] SEC(\"license\") = \"GPL\";\nvolatile u64 out%d;\n", i)
	// Functions are declared first, as they use each other.
	for _, it := range p.files[i].items {
		if it.kind == function && it.role != absent {
			fmt.Fprintf(&b, "%s__noinline u64 %s(u64 x)%s;\n", it.prefix(), it.name, it.suffix())
		} else if it.kind == variable {
			it.variable(&b)
		} else if it.kind == mapping && it.role != absent {
			fmt.Fprintf(&b, "%sstruct { __uint(type, 2); __uint(max_entries, 1); __type(key, u32); __type(value, u64); } %s SEC(\".maps\")%s;\n", it.prefix(), it.name, it.suffix())
		}
	}
	for _, it := range p.files[i].items {
		if it.kind == function && (it.role == strong || it.role == weak || it.role == static) {
			call := "0"
			if it.calls != nil {
				call = it.calls.use("0")
			}
			// Without the volatile variable the compiler could know the result of a
			// strong function.
			fmt.Fprintf(&b, "u64 %s(u64 x) { static volatile u64 own = %d; return own + x + %s; }\n", it.name, it.value, call)
		}
	}
	fmt.Fprintf(&b, "SEC(\"tc\") int p%d(void *ctx) {\n\tu64 sum = 0;\n", i)
	for n, it := range p.files[i].items {
		if it.role != absent {
			fmt.Fprintf(&b, "\t{ u64 v = %s; sum += %d * v; }\n", it.use("3"), n+1)
		}
	}
	fmt.Fprintf(&b, "\tout%d = sum;\n\treturn 0;\n}\n", i)
	return b.String()
}

func (it *item) prefix() string {
	s := ""
	if it.hidden {
		s = "__hidden "
	}
	switch it.role {
	case declared, weakDeclared:
		return s + "extern "
	case static:
		return s + "static "
	}
	return s
}

func (it *item) suffix() string {
	if it.role == weak || it.role == weakDeclared {
		return " __weak"
	}
	return ""
}

func (it *item) variable(b *strings.Builder) {
	array, value := "", fmt.Sprint(it.value)
	if it.length > 0 {
		array, value = fmt.Sprintf("[%d]", it.length), "{ [0] = "+value+" }"
	}
	isConst := ""
	if strings.HasPrefix(it.section, ".rodata") {
		isConst = "const "
	}
	switch it.role {
	case absent:
	case declared, weakDeclared:
		if array != "" {
			array = "[]"
		}
		fmt.Fprintf(b, "%svolatile u64 %s%s%s;\n", it.prefix(), it.name, array, it.suffix())
	default:
		section := ""
		if strings.Count(it.section, ".") > 1 {
			section = fmt.Sprintf(" SEC(%q)", it.section)
		}
		init := " = " + value
		if strings.HasPrefix(it.section, ".bss") {
			init = ""
		}
		fmt.Fprintf(b, "%s%svolatile u64 %s%s%s%s%s;\n", it.prefix(), isConst, it.name, array, section, it.suffix(), init)
	}
}

// use returns the expression that is the value of the name; functions get an
// argument.
func (it *item) use(arg string) string {
	switch it.kind {
	case function:
		// The factor of the argument is in result.
		call := fmt.Sprintf("%s(3)", it.name)
		if it.role == weakDeclared {
			return fmt.Sprintf("(%s ? %s : 0)", it.name, call)
		}
		return call
	case mapping:
		return fmt.Sprintf("({ u32 k = 0; u64 *e = lookup(&%s, &k); e ? *e : 0; })", it.name)
	}
	value := it.name
	if it.length > 0 {
		value += "[0]"
	}
	if it.role == weakDeclared {
		return fmt.Sprintf("(&%s ? %s : 0)", it.name, value)
	}
	return value
}

func TestRandomPrograms(t *testing.T) {
	kerneltest.BPF(t)
	for i := range *cases {
		seed := *seed + uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			p := newProgram(seed)
			var sources []string
			for i := range p.files {
				sources = append(sources, p.source(i))
			}
			t.Cleanup(func() {
				if t.Failed() {
					for i, s := range sources {
						t.Logf("%d.c:\n%s", i, s)
					}
				}
			})
			inputs := linkertest.Compile(t, "bpfel", sources...)
			data, err := linker.Link(inputs, linker.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := linkertest.Check(data, true); err != nil {
				t.Error(err)
			}
			p.run(t, data)
			// In steps: the first files to a library, that with the others.
			if len(inputs) > 2 {
				part, err := linker.Link(inputs[:2], linker.Options{Partial: true})
				if err != nil {
					t.Fatal(err)
				}
				if err := linkertest.Check(part, false); err != nil {
					t.Error(err)
				}
				steps := append([]linker.Input{{Name: "part.o", Data: part}}, inputs[2:]...)
				if data, err = linker.Link(steps, linker.Options{}); err != nil {
					t.Fatal(err)
				}
				p.run(t, data)
			}
			if *bpftool != "" && !p.quirks {
				p.run(t, linkWithBpftool(t, inputs))
			}
		})
	}
}

// run loads the object and compares all values.
func (p *program) run(t *testing.T, data []byte) {
	t.Helper()
	spec, err := linkertest.Spec(data)
	if err != nil {
		t.Fatal(err)
	}
	p.checkVariables(t, spec)
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		var verifier *ebpf.VerifierError
		errors.As(err, &verifier)
		t.Fatalf("%v\n%+v", err, verifier)
	}
	defer coll.Close()
	for name, def := range p.winners {
		if def != nil && def.kind == mapping {
			if err := coll.Maps[name].Put(uint32(0), def.value); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range p.files {
		if _, _, err := coll.Programs[fmt.Sprintf("p%d", i)].Test(make([]byte, 64)); err != nil {
			t.Fatal(err)
		}
		var got uint64
		if err := coll.Variables[fmt.Sprintf("out%d", i)].Get(&got); err != nil {
			t.Fatal(err)
		}
		if want := p.want(i); got != want {
			t.Errorf("the program of %d.c computes %d, want %d", i, got, want)
		}
	}
}

// checkVariables checks which variables the object shows, and their initial values.
func (p *program) checkVariables(t *testing.T, spec *ebpf.CollectionSpec) {
	t.Helper()
	for name, def := range p.winners {
		shown := def != nil && def.kind == variable
		for i := range p.files {
			for _, it := range p.files[i].items {
				shown = shown && !(it.name == name && it.hidden)
			}
		}
		v := spec.Variables[name]
		if (v != nil) != shown {
			t.Errorf("%s is shown: %v, want %v", name, v != nil, shown)
			continue
		}
		if !shown {
			continue
		}
		value := make([]uint64, max(def.length, 1))
		if err := v.Get(value); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if value[0] != def.value {
			t.Errorf("%s is %d, want %d", name, value[0], def.value)
		}
	}
}

func linkWithBpftool(t *testing.T, inputs []linker.Input) []byte {
	t.Helper()
	dir := t.TempDir()
	args := []string{"gen", "object", "linked.o"}
	for _, in := range inputs {
		if err := os.WriteFile(filepath.Join(dir, in.Name), in.Data, 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, in.Name)
	}
	cmd := exec.Command(*bpftool, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("bpftool: %v: %s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, "linked.o"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
