package vmlinuxh

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// C has one name space for the tags of structs, unions and enums, and another
// for typedefs and the values of enums. A kernel is many programs in one: its
// types need not have different names. The second type of a name gets ___2 after
// it, and so on: CO-RE ignores what follows three underscores.

// tagOwner is the type that has a tag.
type tagOwner struct {
	keyword string
	// def is nil as long as the tag has only been declared.
	def btf.Type
}

type names struct {
	tags   map[string]*tagOwner
	idents map[string]bool

	tagOf   map[btf.Type]string
	identOf map[*btf.Typedef]string
}

func newNames(types int) names {
	return names{
		tags:    make(map[string]*tagOwner, types),
		idents:  make(map[string]bool, types),
		tagOf:   make(map[btf.Type]string, types),
		identOf: make(map[*btf.Typedef]string),
	}
}

// candidates yields the names that a type may have, in order.
func candidates(name string) func(func(string) bool) {
	return func(yield func(string) bool) {
		name = identifier(name)
		if !isReserved(name) && !yield(name) {
			return
		}
		for n := 2; ; n++ {
			if !yield(fmt.Sprintf("%s___%d", name, n)) {
				return
			}
		}
	}
}

// tag returns the tag of a struct, union or enum that is defined.
func (n *names) tag(t btf.Type, keyword string) string {
	if name, ok := n.tagOf[t]; ok {
		return name
	}
	for name := range candidates(t.TypeName()) {
		owner := n.tags[name]
		if owner == nil {
			n.tags[name] = &tagOwner{keyword, t}
		} else if owner.def == nil && owner.keyword == keyword {
			owner.def = t
		} else {
			continue
		}
		n.tagOf[t] = name
		return name
	}
	panic("unreachable: candidates do not end")
}

// declaredTag returns the tag of a struct or union that only has a declaration,
// which stands for the definition of that name if there is one.
func (n *names) declaredTag(t btf.Type, keyword string) string {
	if name, ok := n.tagOf[t]; ok {
		return name
	}
	for name := range candidates(t.TypeName()) {
		owner := n.tags[name]
		if owner == nil {
			n.tags[name] = &tagOwner{keyword: keyword}
		} else if owner.keyword != keyword {
			continue
		}
		n.tagOf[t] = name
		return name
	}
	panic("unreachable: candidates do not end")
}

// ident returns the name of a typedef.
func (n *names) ident(t *btf.Typedef) string {
	name, ok := n.identOf[t]
	if !ok {
		name = n.newIdent(t.Name)
		n.identOf[t] = name
	}
	return name
}

// newIdent returns a name for a typedef or a value of an enum.
func (n *names) newIdent(name string) string {
	for name := range candidates(name) {
		if !n.idents[name] {
			n.idents[name] = true
			return name
		}
	}
	panic("unreachable: candidates do not end")
}

// member returns the name of a member. It cannot have a number after it that
// CO-RE would ignore.
func member(name string) string {
	name = identifier(name)
	if isReserved(name) {
		return name + "_"
	}
	return name
}

// identifier replaces what C does not allow in names. Types from other languages
// have such names.
func identifier(name string) string {
	valid := func(i int, c byte) bool {
		return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || i > 0 && c >= '0' && c <= '9'
	}
	for i := range len(name) {
		if !valid(i, name[i]) {
			b := []byte(name)
			for i, c := range b {
				if !valid(i, c) {
					b[i] = '_'
				}
			}
			return string(b)
		}
	}
	return name
}

// Words of C with GNU extensions. Not those that are new in C23, but for bool,
// true and false of which see emit.go: a kernel that uses one as a name is
// compiled for an older C, and so is its header.
var reserved = strings.Fields(`
	_Alignas _Alignof _Atomic _Bool _Complex _Float16 _Generic _Imaginary _Noreturn _Static_assert _Thread_local
	__alignof __alignof__ __asm __asm__ __attribute __attribute__ __auto_type __const __const__ __extension__
	__inline __inline__ __int128 __label__ __restrict __restrict__ __signed __signed__ __thread __typeof
	__typeof__ __volatile __volatile__ asm auto break case char const continue default do double else enum
	extern float for goto if inline int long register restrict return short signed sizeof static struct switch
	typedef typeof union unsigned void volatile while`)

func isReserved(name string) bool {
	if strings.HasPrefix(name, "__builtin_") {
		return true
	}
	_, found := slices.BinarySearch(reserved, name)
	return found
}

// intWords are the words that the names of C's integer types consist of.
var intWords = []string{"_Bool", "__int128", "char", "int", "long", "short", "signed", "unsigned"}

// isIntName reports whether C knows an integer type by the name.
func isIntName(name string) bool {
	// Not Fields, for which a line separator is a space as well.
	for w := range strings.SplitSeq(name, " ") {
		if !slices.Contains(intWords, w) {
			return false
		}
	}
	return true
}
