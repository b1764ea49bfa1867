// Package proptest makes sets of C files at random, together with what must come
// out when they are linked and run.
//
// The files of a [Case] have global, weak, hidden and static variables of several
// types and sections, functions and maps, under names that they share: a name may be
// defined in one file, weakly in another, declared in a third and static in a
// fourth. Each file has a program that stores what it sees under each name, and
// changes it. What it must see follows from the rules of C and of the linker alone,
// which [Case.Run] knows in the simplest form: it neither reads nor writes objects.
package proptest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// role is what a file says of a name.
type role int

const (
	absent role = iota
	strong
	weak
	extern
	static
)

// cType is the type of a variable, a list of elements that are numbers.
type cType struct {
	// decl is a declaration with %s for the name, open one without the length of
	// an array.
	decl, open string
	// elements are what comes after the name.
	elements []string
	bits     []int
}

func types(name string, n int) []cType {
	array := cType{decl: fmt.Sprintf("__u32 %%s[%d]", n), open: "__u32 %s[]"}
	for i := range n {
		array.elements = append(array.elements, fmt.Sprintf("[%d]", i))
		array.bits = append(array.bits, 32)
	}
	record := "struct record_" + name + " %s"
	return []cType{
		{"__u8 %s", "", []string{""}, []int{8}},
		{"__u16 %s", "", []string{""}, []int{16}},
		{"__u32 %s", "", []string{""}, []int{32}},
		{"__u64 %s", "", []string{""}, []int{64}},
		array,
		{record, "", []string{".small", ".large"}, []int{16, 64}},
	}
}

// kind is what a name stands for.
type kind int

const (
	variable kind = iota
	function
	bpfMap
)

// name is a name with what all files mean by it.
type name struct {
	name   string
	kind   kind
	typ    cType // of variables
	const_ bool  // of variables
	// entries is the size of a map, an array of 64-bit numbers.
	entries int
	// files say what the name is in each file.
	files []use
}

// use is what one file says of a name.
type use struct {
	role    role
	hidden  bool
	section string   // of variables; empty for the compiler's choice
	init    []uint64 // of variables
	base    uint64   // of functions, which return base + argument + the variable reads
	reads   int      // index of a variable, -1 for none
	open    bool     // an array is declared without its length
	wrong   bool     // the declaration contradicts the definition
}

// Case is a set of C files.
type Case struct {
	names []*name
	n     int
}

const keys = 3 // what programs use of each map

// Random returns a case.
func Random(r *rand.Rand) *Case {
	c := &Case{n: 2 + r.IntN(3)}
	for i := range 3 + r.IntN(6) {
		c.add(r, &name{name: fmt.Sprintf("var%d", i), kind: variable, const_: r.IntN(4) == 0})
	}
	variables := len(c.names)
	for i := range 1 + r.IntN(4) {
		n := c.add(r, &name{name: fmt.Sprintf("func%d", i), kind: function})
		for file := range n.files {
			// Not of another file's view, and nothing that changes with the order in
			// which the compiler evaluates.
			if v := r.IntN(variables); c.names[v].files[file].role != absent {
				n.files[file].reads = v
			}
		}
	}
	for i := range r.IntN(3) {
		c.add(r, &name{name: fmt.Sprintf("map%d", i), kind: bpfMap, entries: keys + r.IntN(4)})
	}
	if r.IntN(10) == 0 {
		c.spoil(r)
	}
	return c
}

// add gives the name a role in each file, such that the files can be linked.
func (c *Case) add(r *rand.Rand, n *name) *name {
	all := types(n.name, 2+r.IntN(3))
	n.typ = all[r.IntN(len(all))]
	// Definitions in different sections are possible too: libbpf refuses them.
	section, zero := c.place(r, n)
	oneSection := r.IntN(8) > 0
	hasStrong, defined, declared := r.IntN(3) > 0, false, -1
	for file := range c.n {
		u := use{reads: -1, base: uint64(r.Uint32()), hidden: r.IntN(8) == 0}
		switch r.IntN(8) {
		case 0, 1:
			if hasStrong {
				u.role, hasStrong = strong, false
				break
			}
			u.role = weak
		case 2, 3:
			u.role = weak
		case 4, 5:
			u.role = extern
			u.open = n.typ.open != "" && r.IntN(2) == 0
			u.hidden = false
		case 6:
			// Neither libbpf's maps nor the loader's have static ones.
			if n.kind != bpfMap {
				u.role = static
				u.hidden = false
			}
		}
		switch u.role {
		case strong, weak:
			defined = true
		case extern:
			declared = file
		}
		if !oneSection {
			section, zero = c.place(r, n)
		}
		u.section, u.init = section, n.values(r, zero)
		n.files = append(n.files, u)
	}
	if !defined && declared >= 0 {
		n.files[declared].role = strong
	}
	c.names = append(c.names, n)
	return n
}

// place chooses a section for a variable, which decides whether its value is zero.
func (c *Case) place(r *rand.Rand, n *name) (section string, zero bool) {
	if r.IntN(4) > 0 {
		return "", r.IntN(3) == 0
	}
	if n.const_ {
		return ".rodata.one", false
	}
	section = []string{".data.one", ".data.two", ".bss.one"}[r.IntN(3)]
	return section, section == ".bss.one"
}

// values chooses an initial value for a variable.
func (n *name) values(r *rand.Rand, zero bool) []uint64 {
	values := make([]uint64, len(n.typ.bits))
	if zero {
		return values
	}
	for i, bits := range n.typ.bits {
		values[i] = r.Uint64() >> (64 - bits)
	}
	// What is zero is in another section.
	values[0] |= 1
	return values
}

// spoil makes the files such that they cannot be linked.
func (c *Case) spoil(r *rand.Rand) {
	n := c.names[r.IntN(len(c.names))]
	defined := slices.IndexFunc(n.files, func(u use) bool { return u.role == strong })
	other := r.IntN(c.n)
	if other == defined {
		other = (other + 1) % c.n
	}
	u := &n.files[other]
	switch r.IntN(3) {
	case 0: // Defined twice.
		if defined < 0 {
			n.files[(other+1)%c.n].role = strong
		}
		u.role = strong
	case 1: // Defined nowhere.
		for file := range n.files {
			if role := n.files[file].role; role == strong || role == weak {
				n.files[file].role = absent
				c.unread(n, file)
			}
		}
		u.role, u.hidden, u.open = extern, false, false
	default: // Declared as something else.
		if defined < 0 {
			n.files[(other+1)%c.n].role = strong
		}
		u.role, u.hidden, u.open, u.wrong = extern, false, false, true
	}
}

// unread makes the functions of a file not read a variable that it no longer has.
func (c *Case) unread(n *name, file int) {
	for _, f := range c.names {
		if reads := f.files[file].reads; reads >= 0 && c.names[reads] == n {
			f.files[file].reads = -1
		}
	}
}

// Problem returns the name for which the files cannot be linked, empty if they
// can.
func (c *Case) Problem() string {
	for _, n := range c.names {
		count := make(map[role]int)
		wrong := false
		for _, u := range n.files {
			count[u.role]++
			wrong = wrong || u.wrong
		}
		if count[strong] > 1 || wrong || count[extern] > 0 && count[strong]+count[weak] == 0 {
			return n.name
		}
	}
	return ""
}

// Files returns the number of files.
func (c *Case) Files() int { return c.n }

// Names returns the names of what has global linkage, and with it those that are
// hidden.
func (c *Case) Names() (all, hidden []string) {
	for _, n := range c.names {
		isHidden, isGlobal := false, false
		for _, u := range n.files {
			if u.role == strong || u.role == weak {
				isGlobal = true
				isHidden = isHidden || u.hidden
			}
		}
		if isGlobal && n.kind == variable {
			all = append(all, n.name)
			if isHidden {
				hidden = append(hidden, n.name)
			}
		}
	}
	return all, hidden
}

// slots returns how many numbers a program stores for the name.
func (n *name) slots() int {
	switch n.kind {
	case variable:
		return len(n.typ.elements)
	case bpfMap:
		return keys
	}
	return 1
}

// change is what the program of a file adds to the i-th number of a name.
func change(file, i int) uint64 { return uint64(1000*file + 10*i + 7) }

// argument is what the program of a file gives to functions.
func argument(file int) uint64 { return uint64(file) + 5 }

// ResultName is the variable in which the program of a file stores what it sees,
// and ProgramName the program.
func ResultName(file int) string  { return fmt.Sprintf("result%d", file) }
func ProgramName(file int) string { return fmt.Sprintf("prog%d", file) }

// Source returns the C file.
func (c *Case) Source(file int) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n")
	slots := 0
	for _, n := range c.names {
		u := n.files[file]
		if u.role == absent {
			continue
		}
		slots += n.slots()
		switch n.kind {
		case variable:
			n.declareVariable(p, u)
		case bpfMap:
			n.declareMap(p, u)
		case function:
			n.declareFunction(p, u, c)
		}
	}
	p("\n__u64 %s[%d];\n", ResultName(file), slots+1)
	p("SEC(\"syscall\")\nint %s(void *ctx)\n{", ProgramName(file))
	slot := 0
	store := func(format string, args ...any) {
		p("\t%s[%d] = %s;", ResultName(file), slot, fmt.Sprintf(format, args...))
		slot++
	}
	for _, n := range c.names {
		if n.files[file].role == absent {
			continue
		}
		switch n.kind {
		case variable:
			for i, element := range n.typ.elements {
				store("%s%s", n.name, element)
				if !n.const_ {
					p("\t%s%s += %d;", n.name, element, change(file, i))
				}
			}
		case function:
			store("%s(%d)", n.name, argument(file))
		case bpfMap:
			for key := range keys {
				p("\t{\n\t\t__u32 key = %d;\n\t\t__u64 *value = bpf_map_lookup_elem(&%s, &key);\n\t\tif (!value)\n\t\t\treturn 1;", key, n.name)
				store("*value")
				p("\t\t*value += %d;\n\t}", change(file, key))
			}
		}
	}
	p("\treturn 0;\n}\n\nchar LICENSE[] SEC(\"license\") = \"GPL\";")
	return b.String()
}

func (n *name) declareVariable(p func(string, ...any), u use) {
	if strings.HasPrefix(n.typ.decl, "struct") {
		small := "__u16"
		if u.wrong {
			small = "__u8"
		}
		p("struct record_%s { %s small; __u64 large; };", n.name, small)
	} else if u.wrong {
		// Another type of another size.
		p("extern struct { __u64 a, b; __u32 c[7]; } %s;", n.name)
		p("#define %[1]s (*(%[2]s *)&%[1]s)", n.name, strings.TrimSpace(strings.Replace(strings.Split(n.typ.decl, "[")[0], "%s", "", 1)))
		if len(n.typ.elements) > 1 {
			p("#undef %[1]s\n#define %[1]s ((__u32 *)&%[1]s)", n.name)
		}
		return
	}
	decl := n.typ.decl
	if u.open {
		decl = n.typ.open
	}
	decl = fmt.Sprintf(decl, n.name)
	if n.const_ {
		decl = "const volatile " + decl
	}
	var prefix string
	switch u.role {
	case extern:
		p("extern %s;", decl)
		return
	case static:
		prefix = "static "
		if !n.const_ {
			prefix += "volatile "
		}
	case weak:
		prefix = "__weak "
	}
	if u.hidden {
		prefix = "__hidden " + prefix
	}
	if u.section != "" {
		prefix = fmt.Sprintf("SEC(%q) %s", u.section, prefix)
	}
	var values []string
	for _, v := range u.init {
		values = append(values, fmt.Sprintf("%dULL", v))
	}
	init := strings.Join(values, ", ")
	if len(values) > 1 || strings.HasPrefix(n.typ.decl, "struct") {
		init = "{ " + init + " }"
	}
	p("%s%s = %s;", prefix, decl, init)
}

func (n *name) declareMap(p func(string, ...any), u use) {
	entries := n.entries
	prefix := ""
	switch u.role {
	case extern:
		prefix = "extern "
		if u.wrong {
			entries++
		}
	case weak:
		prefix = "__weak "
	}
	p("%sstruct {\n\t__uint(type, BPF_MAP_TYPE_ARRAY);\n\t__uint(max_entries, %d);\n\t__type(key, __u32);\n\t__type(value, __u64);\n} %s SEC(\".maps\");", prefix, entries, n.name)
}

func (n *name) declareFunction(p func(string, ...any), u use, c *Case) {
	signature := fmt.Sprintf("__u64 %s(__u64 arg)", n.name)
	switch u.role {
	case extern:
		if u.wrong {
			p("extern __u64 %s(__u64 arg, __u32 more);\n#define %s(arg) %[2]s(arg, 1)", n.name, n.name)
			return
		}
		p("extern %s;", signature)
		return
	case static:
		signature = "static __noinline " + signature
	case weak:
		signature = "__weak " + signature
	}
	if u.hidden {
		signature = "__hidden " + signature
	}
	read := ""
	if u.reads >= 0 {
		read = " + " + c.names[u.reads].name + c.names[u.reads].typ.elements[0]
	}
	p("%s\n{\n\treturn %dULL + arg%s;\n}", signature, u.base, read)
}

// state is what the variables and maps of a linked object hold.
type state map[string][]uint64

// key returns where the name is that a file means: static ones are apart.
func (n *name) key(file int) string {
	if n.files[file].role == static {
		return fmt.Sprintf("%s in file %d", n.name, file)
	}
	return n.name
}

// definition returns the file whose definition is meant by the name in a file.
func (n *name) definition(file int, order []int) int {
	if n.files[file].role == static {
		return file
	}
	first := -1
	for _, f := range order {
		switch n.files[f].role {
		case strong:
			return f
		case weak:
			if first < 0 {
				first = f
			}
		}
	}
	return first
}

// Run returns what the programs store, by file, when the files are linked in the
// given order and the programs run in the order of the files. The second is what
// global variables hold in the end.
func (c *Case) Run(order []int) (results [][]uint64, final map[string][]uint64) {
	s := make(state)
	for _, n := range c.names {
		for file, u := range n.files {
			if u.role == absent || s[n.key(file)] != nil {
				continue
			}
			switch n.kind {
			case variable:
				s[n.key(file)] = slices.Clone(n.files[n.definition(file, order)].init)
			case bpfMap:
				s[n.key(file)] = make([]uint64, keys)
			}
		}
	}
	for file := range c.n {
		var stored []uint64
		for _, n := range c.names {
			if n.files[file].role == absent {
				continue
			}
			if n.kind == function {
				stored = append(stored, c.call(s, n, file, order))
				continue
			}
			values := s[n.key(file)]
			for i, v := range values {
				stored = append(stored, v)
				if n.const_ {
					continue
				}
				values[i] += change(file, i)
				if n.kind == variable {
					values[i] &= 1<<(n.typ.bits[i]-1)<<1 - 1
				}
			}
		}
		results = append(results, stored)
	}
	final = make(map[string][]uint64)
	all, _ := c.Names()
	for _, n := range c.names {
		if slices.Contains(all, n.name) {
			final[n.name] = s[n.name]
		}
	}
	return results, final
}

func (c *Case) call(s state, f *name, file int, order []int) uint64 {
	in := f.definition(file, order)
	u := f.files[in]
	v := u.base + argument(file)
	if u.reads >= 0 {
		v += s[c.names[u.reads].key(in)][0]
	}
	return v
}

// Bits returns the sizes in bits of a variable's numbers, and where they are in its
// bytes.
func (c *Case) Bits(variable string) (bits, offsets []int) {
	for _, n := range c.names {
		if n.name != variable {
			continue
		}
		offset := 0
		for _, b := range n.typ.bits {
			offset = (offset + b/8 - 1) / (b / 8) * (b / 8)
			offsets = append(offsets, offset)
			offset += b / 8
		}
		return n.typ.bits, offsets
	}
	return nil, nil
}
