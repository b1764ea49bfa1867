package plan

import (
	"path"
	"slices"
	"strings"

	"github.com/bazel-contrib/bazel-gazelle/v2/label"
	"github.com/bazel-contrib/bazel-gazelle/v2/rule"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/expr"
	"github.com/rules-bpf/rules_bpf/gazelle/internal/paths"
)

// free returns a name that no target has, and takes it.
func (d *Directory) free(name, suffix string) string {
	for d.Taken[name] {
		name += suffix
	}
	d.Taken[name] = true
	return name
}

// importable returns a name that a Go package can have: of main, no file can import
// it, and init cannot be an import's name.
func importable(name string) string {
	if name == "main" || name == "init" {
		return name + "_skel"
	}
	return name
}

// name gives units names and import paths.
func (p *Plan) name(d *Directory) {
	for _, u := range p.Units {
		if u.Existing != nil {
			d.Taken[u.Existing.Name()] = true
		}
	}
	packages := p.packages(d)
	inDirectory := packages == 1 && (d.Naming == NamingFolder || d.Naming == NamingAuto && !d.HasGoLibrary && importable(d.base()) == d.base())
	p.releaseHeaders(d, inDirectory)
	for _, u := range p.headersOnly {
		d.Taken[u.Name] = true
	}
	if d.Naming == NamingFolder && packages > 1 {
		p.report("%s: # gazelle:bpf_naming folder: the directory makes %d Go packages, and only one can have its import path",
			paths.OrRoot(d.Rel), packages)
	}
	for _, u := range p.Units {
		p.nameUnit(d, u, inDirectory)
	}
}

// packages counts the Go packages of the directory's own naming.
func (p *Plan) packages(d *Directory) int {
	packages := 0
	for i, u := range p.Units {
		switch {
		case u.Kind == Object, u.Kind == Bpf2go:
			continue
		case u.Kind == Library && !hasSubskeleton(u):
			continue
		case u.Duplicate && u.Kind == Library && subskeletonOf(d, u.Existing.Name()) == nil:
			continue
		}
		// The units of one file follow each other.
		counted := false
		for j := i - 1; j >= 0 && p.Units[j].Srcs[0] == u.Srcs[0]; j-- {
			counted = counted || p.Units[j].Kind != Object
		}
		if !counted {
			packages++
		}
	}
	return packages
}

// hasSubskeleton reports whether a library has something that a subskeleton can be
// made of.
func hasSubskeleton(u *Unit) bool {
	for _, scan := range u.Scans {
		if len(scan.Definitions()) > 0 {
			return true
		}
	}
	return !expr.WrittenOut(u.Existing, "srcs")
}

// releaseHeaders dissolves the library of headers that is called otherwise now. Its
// headers are given to targets anew, and none of them is lost.
func (p *Plan) releaseHeaders(d *Directory, inDirectory bool) {
	name := headersName(d)
	switch {
	case p.takesName(d, inDirectory, name):
	case p.losesSources(d) && !d.Taken[name] && !slices.ContainsFunc(p.headersOnly, func(u *Unit) bool { return u.Name == name }):
		name = besideName(d)
	default:
		return
	}
	p.headersOnly = slices.DeleteFunc(p.headersOnly, func(u *Unit) bool {
		if u.Name != name || u.Existing.ShouldKeep() || !expr.WrittenOut(u.Existing, "hdrs") {
			return false
		}
		p.released = u.Hdrs
		return true
	})
}

// takesName reports whether a library, or an object, comes now and has the name of the
// library of headers: the directory had headers only when that was named.
func (p *Plan) takesName(d *Directory, inDirectory bool, name string) bool {
	return slices.ContainsFunc(p.Units, func(u *Unit) bool {
		if u.Existing != nil || u.Kind != Library && u.Kind != Object {
			return false
		}
		wants, _ := d.convention(u, inDirectory)
		return wants+"_bpf" == name
	})
}

// losesSources reports whether the directory has headers only, and its BUILD file still
// rules that compile something.
func (p *Plan) losesSources(d *Directory) bool {
	if len(p.Units) > 0 || len(p.Broken) > 0 {
		return false
	}
	loses := false
	for _, r := range d.Rules {
		made := func(src string) bool { return slices.Contains(d.Generated, src) || expr.HasRule(d.Build, src) }
		if len(r.Sources) > 0 && (r.Rule.ShouldKeep() || slices.ContainsFunc(r.Sources, made)) {
			return false
		}
		loses = loses || len(r.Sources) > 0
	}
	return loses
}

// convention returns what a unit is called, without what its kind adds, and the import
// path that goes with it.
func (d *Directory) convention(u *Unit, inDirectory bool) (name, importpath string) {
	if inDirectory && u.Kind != Object && u.Kind != Bpf2go {
		return d.base(), d.ImportPath
	}
	name = paths.Stem(path.Base(u.Srcs[0]))
	if dir := path.Dir(u.Srcs[0]); dir != "." && u.Kind != Bpf2go {
		name = path.Join(dir, name)
	}
	if len(u.Srcs) > 1 {
		name = strings.TrimSuffix(u.Existing.Name(), "_bpf")
	}
	return name, path.Join(d.ImportPath, path.Dir(name), importable(path.Base(name)))
}

func (p *Plan) nameUnit(d *Directory, u *Unit, inDirectory bool) {
	name, importpath := d.convention(u, inDirectory)
	existing := func(name, suffix string) string {
		if u.Existing != nil {
			return u.Existing.Name()
		}
		return d.free(name, suffix)
	}
	switch u.Kind {
	case Bpf2go:
		u.Name = existing(u.Command.Stem()+"_bpf2go", "_rule")
		u.GoName = u.Name
	case Skeleton:
		u.Name = existing(name, "_skel")
		u.GoName = u.Name
		u.ImportPath = d.importPath(u, u.Existing, importpath)
	case Object:
		u.Name = existing(name+"_bpf", "_object")
	case Library:
		u.Name = existing(name+"_bpf", "_lib")
		r := subskeletonOf(d, u.Name)
		switch {
		case !hasSubskeleton(u):
		case r != nil:
			u.GoName = r.Name()
			d.Taken[u.GoName] = true
		case !u.Duplicate:
			u.GoName = d.free(name, "_subskel")
		}
		u.ImportPath = d.importPath(u, r, importpath)
	}
}

// importPath returns the import path of a unit's Go package. One that its rule has
// and that belongs to this directory stays: others import it.
func (d *Directory) importPath(u *Unit, r *rule.Rule, convention string) string {
	if r == nil {
		return convention
	}
	has := r.AttrString("importpath")
	if u.Duplicate || len(ofKind(d.compiled(u.Srcs[0]), u.Kind)) > 1 || d.Embedded[r.Name()] && has != "" {
		return has
	}
	ofDirectory := has == d.ImportPath
	if _, below := paths.Under(d.ImportPath, has); !below && !ofDirectory || has == "" || d.Naming != NamingAuto || ofDirectory && d.HasGoLibrary {
		return convention
	}
	return has
}

// subskeletonOf returns the rule that is the subskeleton of a library of the
// directory.
func subskeletonOf(d *Directory, name string) *rule.Rule {
	for _, r := range d.Rules {
		if r.Kind != Subskeleton {
			continue
		}
		if of, err := label.Parse(r.Rule.AttrString("library")); err == nil &&
			of.Abs("", d.Rel).Equal(label.New("", d.Rel, name)) {
			return r.Rule
		}
	}
	return nil
}
