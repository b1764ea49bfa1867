package vmlinuxh

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/ctype"
)

// state is how far a type has come.
type state int

const (
	unseen state = iota
	// busy: what the type needs is being written.
	busy
	done
)

// generator writes types in an order that C takes: a definition before what
// contains the type, and at least a declaration before what points to it.
type generator struct {
	names
	ptrSize uint64
	out     []byte
	err     error
	depth   int

	states map[btf.Type]state
	// complete are the typedefs whose types are written too, and not only declared.
	complete map[*btf.Typedef]bool
	// forward are the tags that have been declared, with their keyword.
	forward map[string]bool
	layouts map[btf.Type]*layout
	// pads is the number of arrays that fill gaps.
	pads int
	// written are the types with a name, and the enums without, in their order in
	// the header.
	written []btf.Type
}

// newGenerator returns a generator of a header of about so many types.
func newGenerator(ptrSize uint64, types int) *generator {
	// What is written of a type takes some 150 bytes, and what grows is copied.
	const size = 160
	return &generator{
		names:    newNames(types),
		ptrSize:  ptrSize,
		states:   make(map[btf.Type]state, types),
		complete: make(map[*btf.Typedef]bool),
		forward:  make(map[string]bool),
		layouts:  make(map[btf.Type]*layout, types),
		out:      append(make([]byte, 0, len(prologue)+len(epilogue)+size*types), prologue...),
	}
}

func (g *generator) fail(err error) {
	if g.err == nil {
		g.err = err
	}
}

// tooDeep counts a call of a function that calls itself, which leave takes back.
// It is true after an error, too, which ends all of them.
func (g *generator) tooDeep() bool {
	if g.depth == maxNesting {
		g.fail(fmt.Errorf("has types nested deeper than %d, which no compiler makes: BTF is damaged", maxNesting))
	}
	if g.err != nil {
		return true
	}
	g.depth++
	return false
}

func (g *generator) leave() { g.depth-- }

// need writes what C must have seen before it can use the type: its definition,
// or if only a pointer to it is used, a declaration.
func (g *generator) need(t btf.Type, definition bool) {
	if g.tooDeep() {
		return
	}
	defer g.leave()
	switch t := t.(type) {
	case *btf.Pointer:
		g.need(t.Target, false)
	case *btf.Array:
		// C has no arrays of what is only declared, not even to point to.
		g.need(t.Type, true)
	case *btf.FuncProto:
		// Once is enough, and takes no longer than there are types.
		if g.states[t] != unseen {
			return
		}
		g.states[t] = done
		g.need(t.Return, false)
		for _, p := range t.Params {
			g.need(p.Type, false)
		}
	case *btf.Typedef:
		g.needTypedef(t, definition)
	case *btf.Struct:
		g.needComposite(t, t.Members, definition)
	case *btf.Union:
		g.needComposite(t, t.Members, definition)
	case *btf.Fwd:
		g.declare(keyword(t), g.declaredTag(t, keyword(t)))
	case *btf.Enum:
		// C has no declarations of enums.
		if t.Name != "" && g.states[t] != done {
			g.states[t] = done
			g.emitEnum(t)
		}
	default:
		if inner, ok := ctype.Unqualify(t); ok {
			g.need(inner, definition)
		}
	}
}

func (g *generator) needTypedef(t *btf.Typedef, definition bool) {
	if isVaList(t) {
		return
	}
	if g.states[t] == unseen {
		g.states[t] = busy
		// Even if a definition is wanted: what it needs may be the typedef.
		g.need(t.Type, false)
		g.states[t] = done
		g.written = append(g.written, t)

		name := g.ident(t)
		g.text("\n")
		g.guarded(name == "bool", func() {
			g.text("typedef ")
			g.declaration(t.Type, name, 0)
			g.text(";\n")
		})
	}
	if definition && !g.complete[t] {
		g.complete[t] = true
		g.need(t.Type, true)
	}
}

// guarded writes what C23 has as words of the language.
func (g *generator) guarded(isWord bool, write func()) {
	if isWord {
		g.text("#if !defined(__STDC_VERSION__) || __STDC_VERSION__ < 202311L\n")
	}
	write()
	if isWord {
		g.text("#endif\n")
	}
}

func (g *generator) needComposite(t btf.Type, members []btf.Member, definition bool) {
	if s := g.states[t]; s == done || s == busy && definition {
		return
	}
	if t.TypeName() != "" && !definition {
		g.declare(keyword(t), g.tag(t, keyword(t)))
		return
	}
	if g.states[t] == busy {
		// Without a name, and what it needs is it itself.
		return
	}
	g.states[t] = busy
	for i := range members {
		g.need(members[i].Type, true)
	}
	g.states[t] = done
	if t.TypeName() == "" {
		return
	}
	g.written = append(g.written, t)
	name := g.tag(t, keyword(t))
	g.forward[keyword(t)+" "+name] = true
	g.text("\n" + keyword(t) + " " + name)
	g.body(t, 0)
	g.text(";\n")
}

// declare writes the declaration of a struct or union once.
func (g *generator) declare(keyword, name string) {
	if name := keyword + " " + name; !g.forward[name] {
		g.forward[name] = true
		g.text("\n" + name + ";\n")
	}
}

func keyword(t btf.Type) string {
	switch t := t.(type) {
	case *btf.Union:
		return "union"
	case *btf.Fwd:
		if t.Kind == btf.FwdUnion {
			return "union"
		}
	case *btf.Enum:
		return "enum"
	}
	return "struct"
}

func (g *generator) text(s string) {
	g.out = append(g.out, s...)
	if len(g.out) > maxHeader {
		g.fail(fmt.Errorf("makes a header of more than %d MB: BTF is damaged, or names fewer types", maxHeader>>20))
	}
}

func (g *generator) indent(n int) {
	for range n {
		g.out = append(g.out, '\t')
	}
}

// body writes what follows the tag of a struct or union.
func (g *generator) body(t btf.Type, indent int) {
	if g.tooDeep() {
		return
	}
	defer g.leave()
	l := g.layout(t)
	if l == nil {
		g.fail(errors.New("contains itself: BTF is damaged"))
		return
	}
	g.text(" {\n")
	if l.opaque {
		g.indent(indent + 1)
		g.text("/* C cannot say where the members are. */\n")
	}
	for _, item := range l.items {
		g.indent(indent + 1)
		switch m := item.member; {
		case m == nil && item.bits > 0:
			g.text(paddingType(item.bits) + ": " + strconv.FormatUint(item.bits, 10) + ";\n")
		case m == nil:
			// The number is for all of the header, so that an unnamed struct does not
			// have a member like that of the struct around it.
			g.pads++
			g.text(fmt.Sprintf("unsigned char __padding_%d[%d];\n", g.pads, item.bytes))
		case m.Name == "":
			// C without extensions has no unnamed members but those that are defined
			// on the spot, which is the same to all who use them.
			inner := composite(m.Type)
			_, quals := unqualifyAll(m.Type)
			g.text(quals.prefix() + keyword(inner))
			g.body(inner, indent+1)
			g.text(";\n")
		default:
			g.declaration(m.Type, member(m.Name), indent+1)
			if m.BitfieldSize > 0 {
				g.text(": " + strconv.FormatUint(uint64(m.BitfieldSize), 10))
			}
			g.text(";\n")
		}
		if g.err != nil {
			return
		}
	}
	g.indent(indent)
	g.text("}")
	if l.packed {
		g.text(" __attribute__((packed))")
	}
	if l.aligned != 0 {
		g.text(fmt.Sprintf(" __attribute__((aligned(%d)))", l.aligned))
	}
}

// paddingType returns the type of an unnamed bit-field: the smallest in which as
// many bits fit.
func paddingType(bits uint64) string {
	switch {
	case bits <= 8:
		return "char"
	case bits <= 16:
		return "short"
	case bits <= 32:
		return "int"
	}
	return "long"
}

func (g *generator) emitEnum(t *btf.Enum) {
	g.written = append(g.written, t)
	g.text("\n")
	isWord := slices.ContainsFunc(t.Values, func(v btf.EnumValue) bool { return v.Name == "false" || v.Name == "true" })
	g.guarded(isWord, func() {
		g.text("enum")
		if t.Name != "" {
			g.text(" " + g.tag(t, "enum"))
		}
		g.enumBody(t, 0)
		g.text(";\n")
	})
}

// enumBody writes what follows the tag of an enum.
func (g *generator) enumBody(t *btf.Enum, indent int) {
	g.text(" {\n")
	if len(t.Values) == 0 {
		// Only declared in the kernel's C, which needs no value; a definition does.
		g.indent(indent + 1)
		g.text(g.newIdent("__no_value_of_"+t.Name) + ",\n")
	}
	// The size that the values alone make clang choose.
	natural := uint64(4)
	for _, v := range t.Values {
		g.indent(indent + 1)
		g.text(g.newIdent(v.Name) + " = ")
		switch {
		case t.Signed && int64(v.Value) == -1<<63:
			// There are no negative numbers in C, but a minus before positive ones.
			g.text("-9223372036854775807LL - 1")
			natural = 8
		case t.Signed:
			g.text(strconv.FormatInt(int64(v.Value), 10))
			if int64(v.Value) != int64(int32(v.Value)) {
				natural = 8
				g.text("LL")
			}
		default:
			g.text(strconv.FormatUint(v.Value, 10))
			if v.Value > 1<<32-1 {
				natural = 8
				g.text("ULL")
			}
		}
		g.text(",\n")
	}
	g.indent(indent)
	g.text("}")
	if size := enumSize(t); size != natural {
		mode := map[uint64]string{1: "QI", 2: "HI", 4: "SI", 8: "DI"}[size]
		g.text(" __attribute__((mode(" + mode + ")))")
	}
}

// enumSize returns the size of an enum, of those that C has.
func enumSize(t *btf.Enum) uint64 {
	switch t.Size {
	case 1, 2, 8:
		return uint64(t.Size)
	}
	return 4
}

// declaration writes the declaration of a name, without the semicolon.
func (g *generator) declaration(t btf.Type, name string, indent int) {
	if g.tooDeep() {
		return
	}
	defer g.leave()
	base, quals, declarator := g.declarator(t, name)
	g.text(quals)
	g.base(base, indent)
	if declarator != "" {
		g.text(" " + declarator)
	}
}

// qualifiers are those that stand before a type in BTF.
type qualifiers struct {
	isConst, isVolatile, isRestrict bool
	// space is the attribute for an address space, as of pointers into an arena.
	space string
}

var errTooLong = errors.New("has a type that is too long to write: BTF is damaged")

// declarator splits a type into what stands at the beginning of a declaration,
// and the name with the stars, brackets and parameters around it. C puts these
// around the name from the inside out, which is the order that BTF has.
func (g *generator) declarator(t btf.Type, name string) (base btf.Type, quals, declarator string) {
	declarator = name
	// The last thing around the name binds weaker than brackets.
	pointer := false
	for steps := 0; ; steps++ {
		if len(declarator) > maxDeclarator || steps > maxDeclarator {
			g.fail(errTooLong)
		}
		if g.err != nil {
			return (*btf.Void)(nil), "", ""
		}
		var q qualifiers
		t, q = unqualifyAll(t)
		switch u := t.(type) {
		case *btf.Pointer:
			stars := "*" + q.pointer()
			if q != (qualifiers{}) && declarator != "" {
				stars += " "
			}
			declarator = stars + declarator
			pointer = true
			t = u.Target
		case *btf.Array:
			declarator = group(declarator, pointer) + "[" + strconv.FormatUint(uint64(u.Nelems), 10) + "]"
			pointer = false
			// A const array is one of const elements.
			t = q.apply(u.Type)
		case *btf.FuncProto:
			declarator = group(declarator, pointer) + g.params(u)
			pointer = false
			t = u.Return
		default:
			return t, q.prefix(), declarator
		}
	}
}

func group(declarator string, pointer bool) string {
	if pointer {
		return "(" + declarator + ")"
	}
	return declarator
}

func unqualifyAll(t btf.Type) (btf.Type, qualifiers) {
	var q qualifiers
	for range maxNesting {
		switch u := t.(type) {
		case *btf.Const:
			q.isConst = true
		case *btf.Volatile:
			q.isVolatile = true
		case *btf.Restrict:
			q.isRestrict = true
		case *btf.TypeTag:
			// The one attribute of types that decides how clang compiles what uses
			// them; it is written as a tag with the attribute's text.
			if addressSpace().MatchString(u.Value) {
				q.space = "__attribute__((" + u.Value + "))"
			}
		default:
			return u, q
		}
		t, _ = ctype.Unqualify(t)
	}
	return (*btf.Void)(nil), q
}

func (q qualifiers) apply(t btf.Type) btf.Type {
	if q.isConst {
		t = &btf.Const{Type: t}
	}
	if q.isVolatile {
		t = &btf.Volatile{Type: t}
	}
	if q.space != "" {
		t = &btf.TypeTag{Type: t, Value: strings.TrimSuffix(strings.TrimPrefix(q.space, "__attribute__(("), "))")}
	}
	return t
}

var addressSpace = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^address_space\(\d{1,7}\)$`) })

// prefix returns the qualifiers of what is not a pointer.
func (q qualifiers) prefix() string {
	s := ""
	if q.isConst {
		s += "const "
	}
	if q.isVolatile {
		s += "volatile "
	}
	if q.space != "" {
		s += q.space + " "
	}
	return s
}

// pointer returns the qualifiers of a pointer, which follow its star.
func (q qualifiers) pointer() string {
	s := q.prefix()
	if q.isRestrict {
		s += "restrict"
	}
	return strings.TrimSuffix(s, " ")
}

// params returns the parameters of a function.
func (g *generator) params(f *btf.FuncProto) string {
	if len(f.Params) == 0 {
		return "(void)"
	}
	if g.tooDeep() {
		return ""
	}
	defer g.leave()
	var b strings.Builder
	for i, p := range f.Params {
		if _, ok := p.Type.(*btf.Void); ok {
			if i == 0 {
				// Before C23, dots cannot be all that there is.
				break
			}
			b.WriteString(", ...")
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(g.param(p.Type, ""))
		if b.Len() > maxDeclarator {
			g.fail(errTooLong)
			return ""
		}
	}
	return "(" + b.String() + ")"
}

// param returns a parameter, whose name may be empty.
func (g *generator) param(t btf.Type, name string) string {
	base, quals, declarator := g.declarator(t, name)
	if e, ok := base.(*btf.Enum); ok && e.Name == "" {
		// Its values cannot be defined again for each parameter.
		base = &btf.Int{Size: uint32(enumSize(e)), Encoding: btf.Unsigned}
	}
	// What is written goes into the declarator that the parameters are a part of.
	outer := g.out
	g.out = nil
	g.base(base, 0)
	text := quals + string(g.out)
	g.out = outer
	if declarator != "" {
		text += " " + declarator
	}
	return text
}

// base writes what stands at the beginning of a declaration.
func (g *generator) base(t btf.Type, indent int) {
	switch t := t.(type) {
	case *btf.Int:
		if name, ok := intName(t); ok {
			g.text(name)
		} else {
			g.bytes(t.Size)
		}
	case *btf.Float:
		if name, ok := floatName(t); ok {
			g.text(name)
		} else {
			g.bytes(t.Size)
		}
	case *btf.Typedef:
		if isVaList(t) {
			g.text(t.Name)
		} else {
			g.text(g.ident(t))
		}
	case *btf.Enum:
		switch {
		case t.Name != "":
			g.text("enum " + g.tag(t, "enum"))
		case len(t.Values) == 0:
			g.base(&btf.Int{Size: uint32(enumSize(t)), Encoding: btf.Unsigned}, indent)
		default:
			g.text("enum")
			g.enumBody(t, indent)
		}
	case *btf.Fwd:
		g.text(keyword(t) + " " + g.declaredTag(t, keyword(t)))
	case *btf.Struct, *btf.Union:
		g.text(keyword(t))
		if t.TypeName() != "" {
			g.text(" " + g.tag(t, keyword(t)))
		} else {
			g.body(t, indent)
		}
	default:
		g.text("void")
	}
}

// bytes writes a type for numbers that C has not, or that clang has not for BPF.
func (g *generator) bytes(size uint32) {
	g.text(fmt.Sprintf("struct { unsigned char bytes[%d]; }", size))
}

// intName returns C's name of an integer type; there may be none.
func intName(t *btf.Int) (string, bool) {
	switch t.Size {
	case 1, 2, 4, 8, 16:
	default:
		return "", false
	}
	if isIntName(t.Name) && (t.Name != "_Bool" || t.Size == 1) {
		return t.Name, true
	}
	if t.Encoding == btf.Bool && t.Size == 1 {
		return "_Bool", true
	}
	// Of another language, or one that a compiler has for itself.
	name := map[uint32]string{1: "char", 2: "short", 4: "int", 8: "long long", 16: "__int128"}[t.Size]
	if t.Encoding == btf.Signed {
		return "signed " + name, true
	}
	return "unsigned " + name, true
}

// floatName returns C's name of a floating-point type; clang has not all of them
// for BPF.
func floatName(t *btf.Float) (string, bool) {
	switch t.Size {
	case 4:
		return "float", true
	case 8:
		return "double", true
	}
	return "", false
}

// isVaList reports whether the type is one that clang declares itself, with what
// it takes for the arguments of BPF functions.
func isVaList(t *btf.Typedef) bool { return t.Name == "__builtin_va_list" }
