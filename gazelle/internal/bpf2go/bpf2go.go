// Package bpf2go reads the lines by which Go files ask cilium/ebpf's generator
// bpf2go for Go code of a C file.
package bpf2go

import (
	"bytes"
	"go/build/constraint"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/cflags"
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
	// Defines, Includes and Copts are what the compiler is told: macros without -D,
	// directories relative to the Go file's, and other flags. What the environment
	// alone knows is left out.
	Defines, Includes, Copts []string
}

// Stem returns how the names of the generated files begin.
func (c *Command) Stem() string {
	if c.OutputStem != "" {
		return c.OutputStem
	}
	return strings.ToLower(c.Ident)
}

const marker = "//go:generate"

// Commands returns the commands of a Go file.
func Commands(name string, content []byte) []Command {
	// Most files have none.
	if !bytes.Contains(content, []byte("bpf2go")) || !bytes.Contains(content, []byte(marker)) {
		return nil
	}
	pkg := packageName(content)
	aliases := make(map[string][]string)
	var out []Command
	number := 0
	for line := range bytes.Lines(content) {
		number++
		rest, ok := strings.CutPrefix(string(line), marker)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '\t' {
			continue
		}
		words := split(rest)
		expand(words, map[string]string{"GOPACKAGE": pkg, "GOFILE": path.Base(name), "DOLLAR": "$", "PWD": "."})
		if len(words) > 2 && words[0] == "-command" {
			aliases[words[1]] = words[2:]
			continue
		}
		if len(words) > 0 && aliases[words[0]] != nil {
			words = slices.Concat(aliases[words[0]], words[1:])
		}
		arguments, ok := arguments(words)
		if !ok {
			continue
		}
		c := Command{Line: number, Package: pkg}
		if strings.HasSuffix(name, "_test.go") {
			c.OutputSuffix = "_test"
		}
		if c.parse(arguments) {
			out = append(out, c)
		}
	}
	return out
}

// packageName returns the name in a file's package clause.
func packageName(content []byte) string {
	for line := range bytes.Lines(content) {
		if name, ok := bytes.CutPrefix(line, []byte("package ")); ok {
			if fields := strings.Fields(string(name)); len(fields) > 0 {
				return strings.TrimSuffix(fields[0], ";")
			}
		}
	}
	return ""
}

// split splits a line as go generate does: at spaces, but not within a quoted word.
func split(line string) []string {
	var words []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimLeft(line, " \t") {
		if line[0] == '"' {
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil
			}
			word, err := strconv.Unquote(quoted)
			if err != nil {
				return nil
			}
			words = append(words, word)
			line = line[len(quoted):]
			continue
		}
		end := strings.IndexAny(line, " \t")
		if end < 0 {
			end = len(line)
		}
		words = append(words, line[:end])
		line = line[end:]
	}
	return words
}

// expand replaces the variables that go generate sets. All others stay.
func expand(words []string, values map[string]string) {
	for i, word := range words {
		for name, value := range values {
			word = strings.ReplaceAll(word, "${"+name+"}", value)
			if at := strings.Index(word, "$"+name); at >= 0 {
				end := at + 1 + len(name)
				if end == len(word) || !isNamePart(word[end]) {
					word = word[:at] + value + word[end:]
				}
			}
		}
		words[i] = word
	}
}

func isNamePart(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// arguments returns what follows the generator's name. Before it may stand what
// runs it: the environment, go tool, go run with a version.
func arguments(words []string) ([]string, bool) {
	for i, word := range words {
		name, _, _ := strings.Cut(word, "@")
		if path.Base(name) == "bpf2go" {
			return words[i+1:], true
		}
		// sh -c "..."
		if i > 0 && strings.HasPrefix(words[i-1], "-") && strings.Contains(word, " ") {
			if inner, ok := arguments(split(word)); ok {
				return inner, true
			}
		}
	}
	return nil, false
}

// Flags with a value that says nothing of the code.
var ignored = []string{"cc", "strip", "makebase"}

// parse reads the arguments, and reports whether they name a source.
func (c *Command) parse(args []string) bool {
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
			flags = slices.Concat(splitFlags(value), flags)
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
				return false
			}
		}
	}
	if len(positional) < 2 {
		return false
	}
	c.Ident, c.Source = positional[0], path.Clean(positional[1])
	flags = append(flags, positional[2:]...)
	c.compilerFlags(flags)
	return !strings.Contains(c.Source, "$")
}

// splitFlags splits a value of -cflags, in which quotes keep words together.
func splitFlags(value string) []string {
	var words []string
	var word strings.Builder
	quote, inWord := rune(0), false
	for _, r := range value {
		switch {
		case quote == 0 && (r == '"' || r == '\''):
			quote, inWord = r, true
		case r == quote && quote != 0:
			quote = 0
		case quote == 0 && (r == ' ' || r == '\t'):
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words
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
