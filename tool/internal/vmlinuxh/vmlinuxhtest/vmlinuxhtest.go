// Package vmlinuxhtest reports whether a C header has the types of the BTF that it
// was made of. It knows nothing of how the header was made: clang has the word.
package vmlinuxhtest

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// Asserts returns a C file that compiles if the structs and unions that the header
// defines have the sizes of BTF, and their members the offsets. Those whose name
// is not the only one are left out, as are bit-fields, which have no address:
// Compare has all of them. It returns the number of asserts, too.
func Asserts(header string, types []btf.Type) (source []byte, n int) {
	var b strings.Builder
	fmt.Fprintf(&b, "#include %q\n", header)
	seen, idents := make(map[string]int), make(map[string]int)
	for _, t := range types {
		switch t := t.(type) {
		case *btf.Struct, *btf.Union:
			seen[t.TypeName()]++
		case *btf.Enum:
			seen[t.TypeName()]++
			for _, v := range t.Values {
				idents[v.Name]++
			}
		case *btf.Typedef:
			idents[t.Name]++
		}
	}
	assert := func(format string, args ...any) {
		n++
		fmt.Fprintf(&b, "_Static_assert("+format+", \"\");\n", args...)
	}
	for _, t := range types {
		if t.TypeName() == "" || seen[t.TypeName()] > 1 {
			continue
		}
		switch t := t.(type) {
		case *btf.Struct:
			assert("sizeof(struct %s) == %d", t.Name, t.Size)
			offsets("struct "+t.Name, t.Members, 0, assert)
		case *btf.Union:
			assert("sizeof(union %s) == %d", t.Name, t.Size)
			offsets("union "+t.Name, t.Members, 0, assert)
		case *btf.Enum:
			assert("sizeof(enum %s) == %d", t.Name, t.Size)
			for _, v := range t.Values {
				if idents[v.Name] == 1 {
					assert("(unsigned long long)%s == %dULL", v.Name, v.Value)
				}
			}
		}
	}
	return []byte(b.String()), n
}

func offsets(name string, members []btf.Member, base btf.Bits, assert func(string, ...any)) {
	for _, m := range members {
		at := base + m.Offset
		switch t := btf.UnderlyingType(m.Type).(type) {
		case *btf.Struct:
			if m.Name == "" {
				offsets(name, t.Members, at, assert)
			}
		case *btf.Union:
			if m.Name == "" {
				offsets(name, t.Members, at, assert)
			}
		}
		if m.Name != "" && m.BitfieldSize == 0 {
			assert("__builtin_offsetof(%s, %s) == %d", name, m.Name, at.Bytes())
		}
	}
}

// The first line of a definition, all of a typedef, and the last line of one with
// a struct in it.
var definition = regexp.MustCompile(`(?m)^(struct|union|enum) (\w+) \{$|` +
	`^typedef .*?\b(\w+)\)?(?:\[\d+\]|\(.*\))*;$|` +
	`^\} (?:__attribute__\S+ )*\**(\w+)(?:\[\d+\])*;$`)

// Uses returns C files with a variable of each type that the header defines, so
// that clang describes all of them in the BTF of the objects. There is more than
// one because clang takes four times as long for twice as many variables.
func Uses(header string, contents []byte) [][]byte {
	var sources [][]byte
	for chunk := range slices.Chunk(definition.FindAllSubmatch(contents, -1), 1000) {
		var b strings.Builder
		fmt.Fprintf(&b, "#include %q\n", header)
		for i, m := range chunk {
			name := string(m[3]) + string(m[4])
			if name == "" {
				// Clang only declares what it met first as the type of a pointer in a
				// struct: this is another type of pointer.
				name = "const volatile " + string(m[1]) + " " + string(m[2])
			}
			fmt.Fprintf(&b, "%s *use_%d;\n", name, i)
		}
		sources = append(sources, []byte(b.String()))
	}
	return sources
}

// Compare compares the types of BTF with those that clang found in their header.
// It returns the number of types that are equal, and describes those that are
// not.
func Compare(want, got []btf.Type) (equal int, differences []string) {
	have := describeAll(got)
	wanted := describeAll(want)
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		left := slices.Clone(have[name])
		for _, w := range wanted[name] {
			if i := slices.Index(left, w); i >= 0 {
				left = slices.Delete(left, i, i+1)
				equal++
				continue
			}
			differences = append(differences, fmt.Sprintf("%s: want\n%s\nhave\n%s", name, w, strings.Join(have[name], "\nor ")))
		}
	}
	return equal, differences
}

// describeAll describes the types that have names.
func describeAll(types []btf.Type) map[string][]string {
	all := make(map[string][]string)
	for _, t := range types {
		// Clang has a type of its own for variable arguments.
		if t.TypeName() == "" || t.TypeName() == "__builtin_va_list" {
			continue
		}
		switch t := t.(type) {
		case *btf.Struct, *btf.Union, *btf.Enum:
			name := reference(t)
			all[name] = append(all[name], definitionOf(t))
		case *btf.Typedef:
			name := reference(t)
			all[name] = append(all[name], describe(t.Type))
		}
	}
	return all
}

var flavour = regexp.MustCompile(`___\d+$`)

// reference is how a type with a name is described where it is used.
func reference(t btf.Type) string {
	name := flavour.ReplaceAllString(t.TypeName(), "")
	switch t := t.(type) {
	case *btf.Struct:
		return "struct " + name
	case *btf.Union:
		return "union " + name
	case *btf.Fwd:
		return t.Kind.String() + " " + name
	case *btf.Enum:
		return "enum " + name
	}
	return name
}

func definitionOf(t btf.Type) string {
	var b strings.Builder
	members := func(members []btf.Member) {
		for _, m := range members {
			if strings.HasPrefix(m.Name, "__padding_") {
				continue
			}
			text := describe(m.Type)
			if m.Name == "" {
				// Clang leaves out what qualifies an unnamed struct.
				text = strings.TrimPrefix(text, "const ")
			}
			fmt.Fprintf(&b, "  %d:%d %s %s\n", m.Offset, m.BitfieldSize, m.Name, text)
		}
	}
	switch t := t.(type) {
	case *btf.Struct:
		fmt.Fprintf(&b, "struct of %d {\n", t.Size)
		members(t.Members)
	case *btf.Union:
		fmt.Fprintf(&b, "union of %d {\n", t.Size)
		members(t.Members)
	case *btf.Enum:
		fmt.Fprintf(&b, "enum of %d {\n", t.Size)
		for _, v := range t.Values {
			// C has no enums without values.
			if strings.HasPrefix(v.Name, "__no_value_of_") {
				continue
			}
			// Clang before 15 describes neither signs nor more bits.
			fmt.Fprintf(&b, "  %s = %d\n", flavour.ReplaceAllString(v.Name, ""), uint32(v.Value))
		}
	}
	return b.String() + "}"
}

// describe describes a type where it is used. The two compilers have different
// names for the same integers.
func describe(t btf.Type) string {
	return describeQualified(t, "")
}

func describeQualified(t btf.Type, quals string) string {
	add := func(q string) string {
		if strings.Contains(quals, q) {
			return quals
		}
		if q == "const " {
			return q + quals
		}
		return quals + q
	}
	switch t := t.(type) {
	case *btf.Const:
		return describeQualified(t.Type, add("const "))
	case *btf.Volatile:
		return describeQualified(t.Type, add("volatile "))
	case *btf.Restrict:
		return describeQualified(t.Type, quals)
	case *btf.TypeTag:
		return describeQualified(t.Type, quals)
	case *btf.Array:
		return fmt.Sprintf("[%d]%s", t.Nelems, describeQualified(t.Type, quals))
	case *btf.Pointer:
		return quals + "*" + describe(t.Target)
	case *btf.FuncProto:
		// C drops the qualifiers of functions.
		var params []string
		for _, p := range t.Params {
			params = append(params, describe(p.Type))
		}
		return "func(" + strings.Join(params, ", ") + ") " + describe(t.Return)
	case *btf.Int:
		if t.Name == "char" {
			// Signed or not as the command line says, and the name is what counts.
			return quals + "char"
		}
		return fmt.Sprintf("%s%v of %d", quals, t.Encoding, t.Size)
	case *btf.Float:
		return fmt.Sprintf("%sfloat of %d", quals, t.Size)
	case *btf.Void:
		return quals + "void"
	}
	if t.TypeName() == "" {
		return quals + definitionOf(t)
	}
	return quals + reference(t)
}
