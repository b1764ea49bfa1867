package skelgen

import (
	"fmt"
	"go/token"
	"go/types"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/rules-bpf/rules_bpf/tool/internal/gonames"
)

// Sub is the subskeleton of a library in the object.
type Sub struct {
	// Name is what the field is named after.
	Name string
	// ImportPath is that of the subskeleton's package.
	ImportPath string
}

// ParseSub reads NAME=IMPORTPATH.
func ParseSub(s string) (Sub, error) {
	name, path, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return Sub{}, fmt.Errorf("%q: want NAME=IMPORTPATH", s)
	}
	if err := checkImportPath(name, path); err != nil {
		return Sub{}, err
	}
	return Sub{name, path}, nil
}

// subField is a field of the struct Subskeletons.
type subField struct {
	goName string
	// alias is the name by which the file imports the package.
	alias, importPath string
}

// addSubskeletons gives each subskeleton its field. The packages are imported by
// names that follow from those of the fields: their own are not known here, and can
// be equal.
func (s *skeleton) addSubskeletons(subs []Sub) []error {
	aliases := slices.Clone(fileNames)
	if s.opts.TypesFrom != nil {
		aliases = append(aliases, s.opts.TypesFrom.alias())
	}
	seen := make(map[string]bool)
	var errs []error
	goNames := subNames(subs)
	for i, sub := range subs {
		if seen[sub.ImportPath] {
			errs = append(errs, fmt.Errorf("subskeleton %s: the package is given twice: name it once", sub.ImportPath))
			continue
		}
		seen[sub.ImportPath] = true
		alias := freeAlias(strings.ToLower(goNames[i]), aliases)
		aliases = append(aliases, alias)
		s.subs = append(s.subs, subField{goNames[i], alias, sub.ImportPath})
	}
	return errs
}

// fileNames are the names of the file that are not exported, and of the variables of Open.
var fileNames = []string{"structs", "unsafe", "link", "skelimpl", "skeleton", "memory", "object", "variants", "m", "s", "v", "obj", "err"}

// freeAlias returns a name for a package in the file that is not taken.
func freeAlias(name string, taken []string) string {
	if token.IsKeyword(name) || types.Universe.Lookup(name) != nil || name == "init" || name == "main" {
		name += "_"
	}
	for slices.Contains(taken, name) {
		name += "_"
	}
	return name
}

// checkImportPath reports whether Go takes the import path.
func checkImportPath(name, path string) error {
	// What the language leaves to compilers, Go's refuses.
	bad := func(r rune) bool {
		return !unicode.IsGraphic(r) || unicode.IsSpace(r) || r == unicode.ReplacementChar || strings.ContainsRune("!\"#$%&'()*,:;<=>?[\\]^`{|}", r)
	}
	if path == "" || strings.ContainsFunc(path, bad) {
		return fmt.Errorf("%s: %q is not an import path: give that of the library's Go package", strconv.Quote(name), path)
	}
	return nil
}

// subNames returns the fields' names. Packages of one name are distinguished by their
// import paths.
func subNames(subs []Sub) []string {
	scope := gonames.NewScope()
	goNames := make([]string, len(subs))
	scope.Settle(func() {
		for i, sub := range subs {
			goNames[i] = scope.Name(sub.ImportPath, gonames.Export(sub.Name), gonames.Export(sub.ImportPath), gonames.Exact(sub.ImportPath))
		}
	})
	return goNames
}

func (s *skeleton) appendSubskeletons(b []byte) []byte {
	if len(s.subs) == 0 {
		return b
	}
	b = append(b, '\n')
	b = appendComment(b, "", s.name("Subskeletons")+" are those of the libraries in the object. Open has opened them, so none is nil.")
	b = fmt.Appendf(b, "type %s struct {\n", s.name("Subskeletons"))
	for _, sub := range s.subs {
		b = fmt.Appendf(b, "\t%s *%s.Subskeleton // %s\n", sub.goName, sub.alias, sub.importPath)
	}
	return append(b, "}\n"...)
}
