package reference

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/doc/comment"
	"go/format"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strings"
)

// Go returns the page about a Go package. Its arguments are the package's import
// path and its source files, by name.
func Go(importpath string, sources map[string][]byte) (string, error) {
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		f, err := parser.ParseFile(fset, name, sources[name], parser.ParseComments)
		if err != nil {
			return "", err
		}
		files = append(files, f)
	}
	pkg, err := doc.NewFromFiles(fset, files, importpath)
	if err != nil {
		return "", err
	}
	w := &goWriter{fset: fset, pkg: pkg}
	w.comment(pkg.Doc)
	w.values(pkg.Consts)
	w.values(pkg.Vars)
	for _, f := range pkg.Funcs {
		w.function("##", f)
	}
	for _, t := range pkg.Types {
		w.typ(t)
	}
	return w.String(), nil
}

type goWriter struct {
	strings.Builder
	fset *token.FileSet
	pkg  *doc.Package
}

func (w *goWriter) comment(text string) {
	printer := w.pkg.Printer()
	// References to other declarations stay as they are read in the source.
	printer.DocLinkURL = func(*comment.DocLink) string { return "" }
	text = strings.TrimSpace(string(printer.Text(w.pkg.Parser().Parse(text))))
	if text == "" {
		return
	}
	fmt.Fprintf(w, "\n%s\n", markdown(text))
}

// markdown makes code blocks of indented lines, and headings that are below those
// of the page.
func markdown(text string) string {
	return strings.NewReplacer("\n\t", "\n    ", "\n# ", "\n### ").Replace(text)
}

func (w *goWriter) code(decl ast.Node) {
	var b strings.Builder
	// A declaration that was parsed can be printed.
	if err := format.Node(&b, w.fset, decl); err == nil {
		fmt.Fprintf(w, "\n```go\n%s\n```\n", b.String())
	}
}

func (w *goWriter) values(values []*doc.Value) {
	for _, v := range values {
		v.Decl.Doc = nil
		w.code(v.Decl)
		w.comment(v.Doc)
	}
}

func (w *goWriter) function(level string, f *doc.Func) {
	name := f.Name
	if f.Recv != "" {
		name = fmt.Sprintf("(%s) %s", f.Recv, f.Name)
	}
	fmt.Fprintf(w, "\n%s func %s\n", level, name)
	f.Decl.Doc, f.Decl.Body = nil, nil
	w.code(f.Decl)
	w.comment(f.Doc)
}

func (w *goWriter) typ(t *doc.Type) {
	fmt.Fprintf(w, "\n## type %s\n", t.Name)
	t.Decl.Doc = nil
	w.code(t.Decl)
	w.comment(t.Doc)
	w.values(t.Consts)
	w.values(t.Vars)
	for _, f := range t.Funcs {
		w.function("###", f)
	}
	for _, m := range t.Methods {
		w.function("###", m)
	}
}
