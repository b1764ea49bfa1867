// Package bpf2go reads the lines by which Go files ask cilium/ebpf's generator
// bpf2go for Go code of a C file.
package bpf2go

import (
	"errors"
	"fmt"
	"go/build/constraint"
	"path"
	"slices"
	"strings"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/cflags"
	"github.com/rules-bpf/rules_bpf/internal/gogenerate"
)

// A Command is one line.
type Command struct {
	// Line counts from 1.
	Line int
	// Ident begins the names of what is generated, and Source is the C file, as they
	// stand in the line.
	Ident, Source string
	// Package is the generated files' package, and Dir their directory, relative to
	// the one of the Go file.
	Package, Dir string
	// OutputStem begins the names of the generated files. Empty: it is Ident in small
	// letters.
	OutputStem string
	// OutputSuffix ends their names, before .go.
	OutputSuffix string
	// Types has the C types for which Go types are asked.
	Types []string
	// Constraint is the expression of a //go:build line for the files, or empty.
	Constraint string
	// NoGlobalTypes is set when types of maps and variables are not asked for.
	NoGlobalTypes bool
	// Targets has the values of -target, or none.
	Targets []string
	// Defines, Includes and Copts are passed to the compiler: macros without -D, directories
	// relative to the Go file's, and other flags. What comes from the environment alone is left
	// out.
	Defines, Includes, Copts []string
	// Err is why there is no rule for the line, of which nothing but its number is known then.
	Err error
	// Variants are those of several lines that differ in macros and flags, of which Defines
	// and Copts have what all have. A line alone has none.
	Variants []Variant
}

// A Variant is what a line passes to the compiler besides what others do.
type Variant struct {
	// Name is the identifier of the line.
	Name string
	// Flags are macros, with -D, and other flags.
	Flags []string
}

// Merge returns one command for several lines that compile a source, the first of them with
// variants where their macros or flags differ.
func Merge(lines []Command) Command {
	merged := lines[0]
	var variants []Command
	for i, line := range lines {
		if i > 0 {
			merged.Types = slices.Concat(merged.Types, line.Types)
		}
		if !slices.ContainsFunc(variants, func(v Command) bool { return compileEqually(v, line) }) {
			variants = append(variants, line)
		}
	}
	if len(variants) == 1 {
		return merged
	}
	// Macros in any order are the same, but for those that a line defines anew; other flags
	// may belong together.
	var redefined []string
	for _, v := range variants {
		redefined = append(redefined, redefinedBy(v.Defines)...)
	}
	merged.Defines = slices.DeleteFunc(slices.Clone(merged.Defines), func(define string) bool {
		return slices.Contains(redefined, MacroName(define)) ||
			slices.ContainsFunc(variants, func(v Command) bool { return !slices.Contains(v.Defines, define) })
	})
	if slices.ContainsFunc(variants, func(v Command) bool { return !slices.Equal(v.Copts, merged.Copts) }) {
		merged.Copts = nil
	}
	for _, v := range variants {
		var flags []string
		for _, define := range v.Defines {
			if !slices.Contains(merged.Defines, define) {
				flags = append(flags, "-D"+define)
			}
		}
		if merged.Copts == nil {
			flags = append(flags, v.Copts...)
		}
		merged.Variants = append(merged.Variants, Variant{Name: v.Ident, Flags: flags})
	}
	return merged
}

// compileEqually reports whether the macros and flags of two lines make one object.
func compileEqually(a, b Command) bool {
	if !slices.Equal(a.Copts, b.Copts) {
		return false
	}
	if slices.Equal(a.Defines, b.Defines) {
		return true
	}
	// Of what defines a macro anew, the last counts.
	if len(redefinedBy(a.Defines))+len(redefinedBy(b.Defines)) > 0 {
		return false
	}
	set := func(defines []string) []string { return slices.Compact(slices.Sorted(slices.Values(defines))) }
	return slices.Equal(set(a.Defines), set(b.Defines))
}

// redefinedBy returns the names of macros that are defined as more than one thing.
func redefinedBy(defines []string) []string {
	var names []string
	as := make(map[string]string)
	for _, define := range defines {
		name := MacroName(define)
		if before, ok := as[name]; ok && before != define {
			names = append(names, name)
		}
		as[name] = define
	}
	return names
}

// MacroName returns the name of a macro that is defined as after -D: NAME, NAME=VALUE or
// NAME(PARAMETERS)=VALUE.
func MacroName(define string) string {
	if end := strings.IndexAny(define, "=("); end >= 0 {
		return define[:end]
	}
	return define
}

// Stem returns how the names of the generated files begin.
func (c *Command) Stem() string {
	if c.OutputStem != "" {
		return c.OutputStem
	}
	return strings.ToLower(c.Ident)
}

// Commands returns the commands of a Go file, in the order of their lines.
func Commands(name string, content []byte) []Command {
	var out []Command
	for _, line := range gogenerate.Lines(name, content, "bpf2go") {
		c := Command{Line: line.Number, Package: line.Package}
		if strings.HasSuffix(name, "_test.go") {
			c.OutputSuffix = "_test"
		}
		if c.Err = line.Err; c.Err == nil {
			c.Err = c.parse(line.Args)
		}
		out = append(out, c)
	}
	return out
}

// Flags with a value that does not change the code.
var ignored = []string{"cc", "strip", "makebase"}

// parse reads the arguments.
func (c *Command) parse(args []string) error {
	var positional, flags []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			flags = append(flags, args...)
			break
		}
		name, isFlag := strings.CutPrefix(arg, "-")
		if !isFlag || name == "" {
			positional = append(positional, arg)
			continue
		}
		name, value, hasValue := strings.Cut(strings.TrimPrefix(name, "-"), "=")
		switch name {
		case "no-global-types":
			c.NoGlobalTypes = true
			continue
		case "no-strip", "verbose", "v":
			continue
		}
		if !hasValue && len(args) > 0 {
			value, args = args[0], args[1:]
		}
		switch name {
		case "cflags":
			// What stands behind -- comes last.
			words, err := gogenerate.Fields(value)
			if err != nil {
				return fmt.Errorf("-cflags %w", err)
			}
			flags = slices.Concat(words, flags)
		case "tags":
			// In the syntax of build constraints before Go 1.17, as the command takes them.
			if expr, err := constraint.Parse("// +build " + value); err == nil {
				c.Constraint = expr.String()
			}
		case "type":
			c.Types = append(c.Types, value)
		case "target":
			c.Targets = append(c.Targets, strings.Split(value, ",")...)
		case "go-package":
			c.Package = value
		case "output-dir":
			c.Dir = path.Clean(value)
		case "output-stem":
			c.OutputStem = value
		case "output-suffix":
			c.OutputSuffix = value
		default:
			if !slices.Contains(ignored, name) {
				return fmt.Errorf("has the flag -%s, which is not known here", name)
			}
		}
	}
	if len(positional) < 2 {
		return errors.New("names no source: it must be an identifier and a C file")
	}
	c.Ident, c.Source = positional[0], path.Clean(positional[1])
	flags = append(flags, positional[2:]...)
	c.compilerFlags(flags)
	if strings.Contains(c.Source, "$") {
		return fmt.Errorf("names its source %s by a variable, whose value is not known here", c.Source)
	}
	return nil
}

// Flags that the rules give the compiler anyway, or that the target platform says.
var implied = []string{"-g", "-O2", "-Wall", "-c", "-emit-llvm", "-nostdinc", "-target", "--target", "-x"}

func (c *Command) compilerFlags(flags []string) {
	for _, f := range cflags.Split(flags) {
		switch {
		case f.Name == "-D":
			if f.Value != "" && !strings.HasPrefix(f.Value, "__TARGET_ARCH_") && !strings.Contains(f.Value, "$") {
				c.Defines = append(c.Defines, f.Value)
			}
		case f.IsSearch():
			// Of the system's own directories, the toolchain has what is needed.
			if f.Value != "" && !path.IsAbs(f.Value) && !strings.Contains(f.Value, ":") {
				c.Includes = append(c.Includes, path.Clean(f.Value))
			}
		case slices.Contains(implied, f.Name), strings.HasPrefix(f.Name, "--target="), strings.Contains(f.Name+f.Value, "$"):
		case strings.HasPrefix(f.Name, "-"):
			c.Copts = append(c.Copts, f.Words...)
		}
	}
}

// Writes reports whether the command writes a file of this name, or would with other
// targets or an earlier release of the generator.
func (c *Command) Writes(name string) bool {
	rest, ok := strings.CutPrefix(name, c.Stem()+"_")
	if !ok {
		return false
	}
	stem, isGo := strings.CutSuffix(rest, c.OutputSuffix+".go")
	if !isGo {
		if stem, ok = strings.CutSuffix(rest, ".o"); !ok {
			return false
		}
		stem = strings.TrimSuffix(stem, c.OutputSuffix)
	}
	parts := strings.Split(stem, "_")
	return len(parts) <= 2 && (slices.Contains(parts, "bpfel") || slices.Contains(parts, "bpfeb"))
}
