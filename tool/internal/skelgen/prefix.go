package skelgen

import (
	"fmt"
	"go/token"
	"unicode"
	"unicode/utf8"
)

// check reports what is wrong with names that end up in Go code.
func (o Options) check() error {
	if err := CheckPackage(o.Package); err != nil {
		return err
	}
	if o.Prefix == "" {
		return nil
	}
	return CheckPrefix(o.Prefix)
}

// CheckPrefix reports whether Go names can begin with the prefix.
func CheckPrefix(prefix string) error {
	if !token.IsIdentifier(prefix) || prefix == "_" {
		return fmt.Errorf("%q: no Go name can begin so: use letters, digits and underscores, starting with a letter, and no Go keyword", prefix)
	}
	return nil
}

// name returns what the declaration is called that is called name in a package of its
// own.
func (g *generator) name(name string) string { return g.opts.Prefix + name }

// private returns the name of a declaration that is for the file alone. No type has it:
// nothing else begins with an underscore.
func (g *generator) private(name string) string {
	if g.opts.Prefix == "" {
		return name
	}
	return "_" + g.opts.Prefix + upperFirst(name)
}

// open returns the name of the function that opens the object or library.
func (g *generator) open() string {
	switch prefix := g.opts.Prefix; {
	case prefix == "" || token.IsExported(prefix):
		return "Open" + prefix
	default:
		return "open" + upperFirst(prefix)
	}
}

func upperFirst(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + s[size:]
}
