// Package gonames turns the names of C into exported Go names.
//
// The rule, the same for every kind of name:
//
//  1. The name is cut into parts at underscores and at every character that Go
//     does not allow in an identifier. The cuts are dropped.
//  2. A name without any lower-case letter is lower-cased first.
//  3. The first letter of each part is made upper-case, and the parts are joined.
//  4. A result that does not start with an upper-case letter (a digit, a letter
//     of a script without case, nothing at all) gets the prefix X.
//
// So min_duration_ns is MinDurationNs, MODE_OFF is ModeOff, .data.counters is
// DataCounters, 802_1q is X8021q and _ is X. No result is a Go keyword or a
// predeclared identifier: these start with a lower-case letter.
//
// Different C names can have one Go name, and so can a C name and a name that the
// generated code has already. Then none of the C names has it: each is spelt by
// [Exact], which gives different C names different Go names. max_len is MaxLen; with
// maxLen beside it, the two are C_max_len and C_maxLen. So the meaning of a Go name
// does not depend on the order of the C names, and code with MaxLen does not compile any more
// when that could mean either.
//
// [Assign] names a list of C names, such as the members of a struct, [AssignIn] variables of
// a data section, and [Scope] those that are found one after the other, such as the types of
// a package.
package gonames

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rules-bpf/rules_bpf/internal/goname"
)

// Export returns the Go name for the C name c, by the rule of this package.
func Export(c string) string { return goname.Export(c) }

// Exact returns a Go name for the C name c that no other C name has, and that is no
// result of [Export]: C_ and the name. A name with something that Go does not allow in
// identifiers is Q_ and the name, in which such a character is its number between
// underscores, and an underscore is two.
func Exact(c string) string {
	plain := func(r rune) bool { return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r)) }
	if !strings.ContainsFunc(c, func(r rune) bool { return r != '_' && !plain(r) }) {
		return "C_" + c
	}
	var b strings.Builder
	b.WriteString("Q_")
	for i, r := range c {
		switch {
		case r == '_':
			b.WriteString("__")
		case plain(r):
			b.WriteRune(r)
		case r == utf8.RuneError && !strings.HasPrefix(c[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, "_X%02x_", c[i]) // a byte that is not UTF-8
		default:
			fmt.Fprintf(&b, "_%x_", r)
		}
	}
	return b.String()
}

// Assign returns the Go names of the C names in a list: the fields of one struct, which
// has the names reserved already.
func Assign(c []string, reserved ...string) []string {
	return AssignFields("", fields(c), reserved...)
}

// AssignIn is Assign for the variables of a data section. A name that begins with what the
// section is called is named after the rest, as the struct has the beginning: config_max of
// section .data.config is DataConfig.Max.
func AssignIn(section string, c []string) []string { return AssignFields(section, fields(c)) }

// Field is what a field of a struct is named after.
type Field struct {
	// C is the name in C.
	C string
	// Variant ends the Go name of one of several fields for the C name, each of which is for
	// some variants of the object. It is empty for the only field, and can end Go names.
	Variant string
}

func fields(c []string) []Field {
	fields := make([]Field, len(c))
	for i, name := range c {
		fields[i].C = name
	}
	return fields
}

// AssignFields is Assign for fields of an object with variants, and AssignIn where they are
// variables of a section: section is empty where they are not.
func AssignFields(section string, fields []Field, reserved ...string) []string {
	parts := strings.SplitN(section, ".", 3)
	prefix := parts[len(parts)-1] + "_"
	short := func(name string) string {
		if rest, ok := strings.CutPrefix(name, prefix); ok && len(parts) == 3 && strings.Trim(rest, "_") != "" {
			return rest
		}
		return name
	}
	s := NewScope(reserved...)
	names := make([]string, len(fields))
	s.Settle(func() {
		for i, f := range fields {
			key, exact := f.C, Exact(f.C)
			if f.Variant != "" {
				key += "\x01" + f.Variant
				exact += "_" + f.Variant
			}
			names[i] = s.Name(key, Export(short(f.C))+f.Variant, exact)
		}
	})
	return names
}

// Scope gives out names that differ from each other, of things that are found one
// after the other. All of them are asked for in a pass; where names collided, they are
// asked for in another one, and some differ: see [Scope.Settle].
type Scope struct {
	reserved map[string]bool
	// level is the index of the spelling that each thing has. It does not sink, so that
	// passes come to an end.
	level map[string]int
	// asked are the things of this pass, and count is how many have each key.
	asked []thing
	count map[string]int
}

type thing struct {
	key       string
	spellings []string
}

func (s *Scope) spell(t thing) string { return t.spellings[min(s.level[t.key], len(t.spellings)-1)] }

// NewScope returns a scope in which the names reserved are taken.
func NewScope(reserved ...string) *Scope {
	s := &Scope{reserved: make(map[string]bool, len(reserved)), level: make(map[string]int), count: make(map[string]int)}
	for _, name := range reserved {
		s.reserved[name] = true
	}
	return s
}

// Name returns the Go name of the thing with the key: the first of the spellings that nothing
// else has. A second thing with the same key gets a number.
func (s *Scope) Name(key string, spellings ...string) string {
	s.count[key]++
	if n := s.count[key]; n > 1 {
		key += "\x00" + strconv.Itoa(n)
		// No other spelling begins so.
		spellings = []string{fmt.Sprintf("D%d_%s", n, spellings[len(spellings)-1])}
	}
	t := thing{key, spellings}
	s.asked = append(s.asked, t)
	return s.spell(t)
}

// Mark returns a mark for Forget.
func (s *Scope) Mark() int { return len(s.asked) }

// Forget takes back the names that were asked for since the mark.
func (s *Scope) Forget(mark int) {
	for _, t := range s.asked[mark:] {
		key, _, _ := strings.Cut(t.key, "\x00")
		s.count[key]--
	}
	s.asked = s.asked[:mark]
}

// Settle calls pass, which asks for all names, until they differ from each other and from the
// reserved ones. Each call of pass starts from nothing, and the result of the last one counts.
// Names may be made of others that were given out, which takes more passes.
func (s *Scope) Settle(pass func()) {
	for settled := false; !settled; {
		s.asked = nil
		clear(s.count)
		pass()
		settled = true
		for s.raise() {
			settled = false
		}
	}
}

// raise gives all things whose names collide their next spelling, and reports whether
// any has one.
func (s *Scope) raise() bool {
	have := make(map[string][]thing, len(s.asked))
	for _, t := range s.asked {
		name := s.spell(t)
		have[name] = append(have[name], t)
	}
	raised := false
	for name, things := range have {
		if len(things) == 1 && !s.reserved[name] {
			continue
		}
		for _, t := range things {
			if s.level[t.key] < len(t.spellings)-1 {
				s.level[t.key]++
				raised = true
			}
		}
	}
	return raised
}
