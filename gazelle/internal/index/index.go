// Package index knows which target has a header and which library defines a symbol.
package index

import (
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/bazel-contrib/bazel-gazelle/v2/label"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/bpfc"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/plan"
)

// What look-ups find wrong.
var (
	// ErrNone is returned for what no target has.
	ErrNone = errors.New("no target has it")
	// ErrSeveral is returned for what several targets have.
	ErrSeveral = errors.New("several targets have it")
)

// A Library is a bpf_library that others may link.
type Library struct {
	Label label.Label
	// Unit is set when the library's directory was planned in this run. Otherwise
	// Deps is what its BUILD file says.
	Unit  *plan.Unit
	Deps  []label.Label
	Scans []*bpfc.File
	// OneOf is set when the sources are not a list: a select compiles some of them.
	OneOf bool
	// HeadersOnly is set for a library that compiles nothing: what its headers define
	// is the including file's.
	HeadersOnly bool

	externs     []*bpfc.Symbol
	externsDone bool
}

// Externs returns what the library needs of others.
func (lib *Library) Externs() []*bpfc.Symbol {
	if !lib.externsDone && !lib.HeadersOnly {
		lib.externs, lib.externsDone = Externs(lib.Scans), true
	}
	return lib.externs
}

// Externs returns what files need and do not define themselves.
func Externs(scans []*bpfc.File) []*bpfc.Symbol {
	defined := func(name string) bool {
		return slices.ContainsFunc(scans, func(scan *bpfc.File) bool {
			_, is := slices.BinarySearchFunc(scan.Definitions(), name, func(s bpfc.Symbol, name string) int {
				return strings.Compare(s.Name, name)
			})
			return is
		})
	}
	var out []*bpfc.Symbol
	var seen map[string]bool
	if len(scans) > 1 {
		seen = make(map[string]bool)
	}
	for _, scan := range scans {
		list := scan.Externs()
		for i := range list {
			s := &list[i]
			// Those of one file are sorted.
			if i > 0 && list[i-1].Name == s.Name || seen[s.Name] || defined(s.Name) {
				continue
			}
			out = append(out, s)
			if seen != nil {
				seen[s.Name] = true
			}
		}
	}
	return out
}

// A Definition is where a target defines a symbol.
type Definition struct {
	Of     label.Label
	Symbol *bpfc.Symbol
}

// An Index is what is known of all directories that were planned or indexed. Labels
// in it have no repository.
type Index struct {
	libraries    map[label.Label]*Library
	headers      map[string][]label.Label
	symbols      map[string][]Definition
	subskeletons map[label.Label][]label.Label
	goPackages   map[string][]label.Label
	// finalHeaders has the headers that belong to final objects only.
	finalHeaders map[string]label.Label
	finals       []*plan.Unit
}

// New returns an empty index.
func New() *Index {
	return &Index{
		libraries:    make(map[label.Label]*Library),
		headers:      make(map[string][]label.Label),
		symbols:      make(map[string][]Definition),
		subskeletons: make(map[label.Label][]label.Label),
		goPackages:   make(map[string][]label.Label),
		finalHeaders: make(map[string]label.Label),
	}
}

// AddUnit notes a unit that was planned.
func (ix *Index) AddUnit(u *plan.Unit, oneOf bool) {
	if u.Final() {
		ix.finals = append(ix.finals, u)
		for _, h := range u.Hdrs {
			ix.finalHeaders[path.Join(u.Rel, h)] = u.Label()
		}
		return
	}
	ix.AddLibrary(&Library{Label: u.Label(), Unit: u, Scans: u.Scans, OneOf: oneOf, HeadersOnly: u.HeadersOnly()}, u.Hdrs)
	if u.GoName != "" {
		ix.AddSubskeleton(u.Label(), label.New("", u.Rel, u.GoName))
	}
}

// AddLibrary notes a library with its headers and definitions.
func (ix *Index) AddLibrary(lib *Library, hdrs []string) {
	ix.libraries[lib.Label] = lib
	ix.AddHeaders(lib.Label, hdrs)
	if lib.HeadersOnly {
		return
	}
	for _, scan := range lib.Scans {
		definitions := scan.Definitions()
		for i := range definitions {
			s := &definitions[i]
			ix.symbols[s.Name] = append(ix.symbols[s.Name], Definition{Of: lib.Label, Symbol: s})
		}
	}
}

// AddHeaders notes that a target has headers, as its rule names them.
func (ix *Index) AddHeaders(of label.Label, hdrs []string) {
	for _, h := range hdrs {
		name := path.Join(of.Pkg, strings.TrimPrefix(h, ":"))
		if !slices.Contains(ix.headers[name], of) {
			ix.headers[name] = append(ix.headers[name], of)
		}
	}
}

// AddSubskeleton notes a subskeleton of a library.
func (ix *Index) AddSubskeleton(of, l label.Label) {
	if !slices.Contains(ix.subskeletons[of], l) {
		ix.subskeletons[of] = append(ix.subskeletons[of], l)
	}
}

// AddGoPackage notes the target of a Go package.
func (ix *Index) AddGoPackage(importpath string, l label.Label) {
	if importpath != "" && !slices.Contains(ix.goPackages[importpath], l) {
		ix.goPackages[importpath] = append(ix.goPackages[importpath], l)
	}
}

// Library returns a library, or nil.
func (ix *Index) Library(l label.Label) *Library { return ix.libraries[l] }

// Subskeletons returns the subskeletons of a library.
func (ix *Index) Subskeletons(of label.Label) []label.Label { return ix.subskeletons[of] }

// GoPackages returns the targets of a Go package.
func (ix *Index) GoPackages(importpath string) []label.Label { return ix.goPackages[importpath] }

// Header returns the libraries that have a header, by its path from the root.
func (ix *Index) Header(name string) []label.Label { return slices.Clone(ix.headers[name]) }

// FinalHeader returns the final object that has a header, when no library has it.
func (ix *Index) FinalHeader(name string) (label.Label, error) {
	if l, ok := ix.finalHeaders[name]; ok {
		return l, nil
	}
	return label.NoLabel, ErrNone
}

// Definitions returns where libraries other than one define a symbol.
func (ix *Index) Definitions(name string, but label.Label) []Definition {
	definitions := ix.symbols[name]
	if slices.ContainsFunc(definitions, func(d Definition) bool { return d.Of == but }) {
		definitions = slices.DeleteFunc(slices.Clone(definitions), func(d Definition) bool { return d.Of == but })
	}
	return definitions
}

// Definition returns the only library other than one that defines a symbol.
func (ix *Index) Definition(name string, but label.Label) (Definition, error) {
	switch definitions := ix.Definitions(name, but); len(definitions) {
	case 0:
		return Definition{}, ErrNone
	case 1:
		return definitions[0], nil
	}
	return Definition{}, ErrSeveral
}

// FinalDefinition returns where a final object defines a symbol.
func (ix *Index) FinalDefinition(name string) (Definition, error) {
	for _, u := range ix.finals {
		for _, scan := range u.Scans {
			definitions := scan.Definitions()
			for i := range definitions {
				if definitions[i].Name == name {
					return Definition{Of: u.Label(), Symbol: &definitions[i]}, nil
				}
			}
		}
	}
	return Definition{}, ErrNone
}
