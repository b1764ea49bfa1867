// Package expr reads and makes the expressions of BUILD files.
package expr

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bazel-contrib/bazel-gazelle/v2/label"
	"github.com/bazel-contrib/bazel-gazelle/v2/rule"
	"github.com/bazelbuild/buildtools/build"
	"github.com/bmatcuk/doublestar/v4"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/cflags"
)

// NoFiles is for attributes of labels, which no glob makes.
func NoFiles() []string { return nil }

// AttrStrings returns all strings that a list attribute may have: those of a list,
// of each branch of a select, and what a glob matches among files.
func AttrStrings(r *rule.Rule, attr string, files func() []string) []string {
	if list := r.AttrStrings(attr); list != nil {
		return list
	}
	return exprStrings(r.Attr(attr), files)
}

func exprStrings(e build.Expr, files func() []string) []string {
	var out []string
	switch e := e.(type) {
	case *build.StringExpr:
		out = append(out, e.Value)
	case *build.ListExpr:
		for _, item := range e.List {
			out = append(out, exprStrings(item, files)...)
		}
	case *build.BinaryExpr:
		out = append(exprStrings(e.X, files), exprStrings(e.Y, files)...)
	case *build.DictExpr:
		for _, branch := range e.List {
			out = append(out, exprStrings(branch.Value, files)...)
		}
	case *build.CallExpr:
		if glob, ok := rule.ParseGlobExpr(e); ok {
			for _, name := range files() {
				matches := func(pattern string) bool { return doublestar.MatchUnvalidated(pattern, name) }
				if slices.ContainsFunc(glob.Patterns, matches) && !slices.ContainsFunc(glob.Excludes, matches) {
					out = append(out, name)
				}
			}
		} else if f, ok := e.X.(*build.Ident); ok && f.Name == "select" && len(e.List) > 0 {
			out = exprStrings(e.List[0], files)
		}
	}
	return out
}

// WrittenOut reports whether an attribute is a list or absent. Any other expression was
// written by hand, and stays as it is.
func WrittenOut(r *rule.Rule, attr string) bool {
	if r == nil || r.Attr(attr) == nil {
		return true
	}
	_, ok := r.Attr(attr).(*build.ListExpr)
	return ok
}

// IsLabel reports whether a string in a list of files is certainly not one.
func IsLabel(s string) bool { return strings.ContainsAny(s, ":@") || strings.HasPrefix(s, "//") }

// RuleSources returns the files of the package that a rule compiles.
func RuleSources(r *rule.Rule, files func() []string) []string {
	var out []string
	srcs := AttrStrings(r, "srcs", files)
	if src := r.AttrString("src"); src != "" {
		srcs = append(srcs, src)
	}
	for _, src := range srcs {
		if src = strings.TrimPrefix(src, ":"); src != "" && !IsLabel(src) {
			out = append(out, src)
		}
	}
	return out
}

// HasRule reports whether a BUILD file has a rule of a name.
func HasRule(f *rule.File, name string) bool {
	return f != nil && slices.ContainsFunc(f.Rules, func(r *rule.Rule) bool { return r.Name() == name })
}

// KeptLabels returns the labels of an attribute that are marked with # keep.
func KeptLabels(r *rule.Rule, attr string, pkg string) []label.Label {
	if r == nil {
		return nil
	}
	list, ok := r.Attr(attr).(*build.ListExpr)
	if !ok {
		return nil
	}
	var out []label.Label
	for _, e := range list.List {
		s, ok := e.(*build.StringExpr)
		if !ok || !rule.ShouldKeep(e) {
			continue
		}
		if l, err := label.Parse(s.Value); err == nil {
			out = append(out, l.Abs("", pkg))
		}
	}
	return out
}

// String is a string as people write it: letters of other alphabets stand for
// themselves, where the formatter by itself would write their bytes.
func String(s string) *build.StringExpr {
	e := &build.StringExpr{Value: s}
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) >= 0 &&
		strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' || r == 0x7f }) < 0 {
		e.Token = `"` + s + `"`
	}
	return e
}

// SetString sets a string attribute. The expression of an existing rule is kept when its value
// is the same.
func SetString(r, existing *rule.Rule, attr, value string) {
	if existing != nil {
		if e, ok := existing.Attr(attr).(*build.StringExpr); ok && e.Value == value {
			r.SetAttr(attr, e)
			return
		}
	}
	r.SetAttr(attr, String(value))
}

// Unchanged returns what a rule has, when that is a list of these strings and nothing
// else. Merged, it stays as it is.
func Unchanged(r *rule.Rule, attr string, values []string) (Verbatim, bool) {
	// When it is to, Gazelle removes keep comments that keep nothing.
	if r == nil || rule.RemoveNoopKeepComments {
		return Verbatim{}, false
	}
	list, ok := r.Attr(attr).(*build.ListExpr)
	if !ok || len(list.List) != len(values) {
		return Verbatim{}, false
	}
	for i, e := range list.List {
		if s, ok := e.(*build.StringExpr); !ok || s.Value != values[i] {
			return Verbatim{}, false
		}
	}
	return Verbatim{list}, true
}

// SetStrings sets a list attribute.
func SetStrings(r *rule.Rule, attr string, values []string) {
	list := make([]build.Expr, len(values))
	for i, value := range values {
		list[i] = String(value)
	}
	r.SetAttr(attr, &build.ListExpr{List: list})
}

// Verbatim is the value of an attribute that stays as it is.
type Verbatim struct{ Expr build.Expr }

// BzlExpr returns the expression.
func (v Verbatim) BzlExpr() build.Expr { return v.Expr }

// Merge returns what the rule has.
func (Verbatim) Merge(other build.Expr) build.Expr { return other }

// Replaced is the value of an attribute that takes the place of what a rule has.
type Replaced struct{ Expr build.Expr }

// BzlExpr returns the expression.
func (v Replaced) BzlExpr() build.Expr { return v.Expr }

// Merge returns the expression.
func (v Replaced) Merge(build.Expr) build.Expr { return v.Expr }

// Mark is the comment behind an entry of a Flags list. Entries without it were
// written by hand.
const Mark = "# gazelle"

// Flags is a list in which order matters, such as copts and includes. Merged into a
// rule, it replaces the entries that an earlier run marked, and leaves all others
// where they are.
type Flags []string

// BzlExpr returns the list with its marks.
func (f Flags) BzlExpr() build.Expr {
	list := &build.ListExpr{ForceMultiLine: true}
	for _, flag := range f.without(nil) {
		list.List = append(list.List, marked(flag))
	}
	return list
}

func marked(flag string) build.Expr {
	e := String(flag)
	e.Suffix = []build.Comment{{Token: Mark}}
	return e
}

// Merge returns the list that a rule shall have, or nil for none. A flag of several
// words is one: a word of it may stand elsewhere, too.
func (f Flags) Merge(other build.Expr) build.Expr {
	if other == nil {
		if len(f) == 0 {
			return nil
		}
		return f.BzlExpr()
	}
	list, ok := other.(*build.ListExpr)
	if !ok {
		return other
	}
	var verbatim, has []string
	there := make(map[string]build.Expr)
	first := -1
	var rest []build.Expr
	for _, e := range list.List {
		s, ok := e.(*build.StringExpr)
		if ok && isMarked(e) {
			if first < 0 {
				first = len(rest)
			}
			has = append(has, s.Value)
			there[s.Value] = e
			continue
		}
		if ok {
			verbatim = append(verbatim, s.Value)
		}
		rest = append(rest, e)
	}
	want := f.without(verbatim)
	if slices.Equal(has, want) {
		return other
	}
	if first < 0 {
		first = len(rest)
	}
	own := make([]build.Expr, len(want))
	for i, flag := range want {
		if own[i] = there[flag]; own[i] == nil {
			own[i] = marked(flag)
		}
		// Each expression stands once.
		delete(there, flag)
	}
	merged := *list
	if merged.List = slices.Insert(rest, first, own...); len(merged.List) == 0 {
		return nil
	}
	return &merged
}

// without returns the words of the flags that are not among others, each once.
func (f Flags) without(others []string) []string {
	var out []string
	seen := cflags.Split(others)
	for _, flag := range cflags.Split(f) {
		if slices.ContainsFunc(seen, func(other cflags.Flag) bool { return slices.Equal(other.Words, flag.Words) }) {
			continue
		}
		seen = append(seen, flag)
		out = append(out, flag.Words...)
	}
	return out
}

// Marked returns the entries of an attribute that an earlier run marked.
func Marked(r *rule.Rule, attr string) []string {
	list, ok := r.Attr(attr).(*build.ListExpr)
	if !ok {
		return nil
	}
	var out []string
	for _, e := range list.List {
		if s, ok := e.(*build.StringExpr); ok && isMarked(e) {
			out = append(out, s.Value)
		}
	}
	return out
}

func isMarked(e build.Expr) bool {
	return slices.ContainsFunc(e.Comment().Suffix, func(c build.Comment) bool { return c.Token == Mark })
}

// Labels is a list of labels that stays sorted when it is merged into a rule:
// Gazelle sorts the lists of attributes that it knows, such as deps.
type Labels []string

// BzlExpr returns the list.
func (l Labels) BzlExpr() build.Expr { return rule.SortedStrings(l).BzlExpr() }

// Merge returns the list that a rule shall have.
func (l Labels) Merge(other build.Expr) build.Expr {
	if _, ok := other.(*build.ListExpr); !ok && other != nil {
		return other
	}
	return rule.SortedStrings(l).Merge(other)
}

// Grown is a list that only grows: what a rule has stays.
type Grown []string

// BzlExpr returns the list.
func (g Grown) BzlExpr() build.Expr { return rule.ExprFromValue([]string(g)) }

// Merge returns the list that a rule shall have.
func (g Grown) Merge(other build.Expr) build.Expr {
	list, ok := other.(*build.ListExpr)
	switch {
	case other == nil:
		return g.BzlExpr()
	case !ok:
		return other
	}
	merged := *list
	for _, s := range g {
		if !slices.ContainsFunc(merged.List, func(e build.Expr) bool {
			has, ok := e.(*build.StringExpr)
			return ok && has.Value == s
		}) {
			merged.List = append(slices.Clip(merged.List), String(s))
		}
	}
	return &merged
}
