// Package docs writes the reference pages under docs/: of the rules, from what Bazel
// extracts of the .bzl files, and of the forms of SEC(), from package secdef.
package docs

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of the messages in Bazel's stardoc_output.proto.
const (
	moduleRule      = 1
	moduleProvider  = 2
	moduleFunction  = 3
	moduleExtension = 7

	entityName = 1
	entityDoc  = 2

	ruleAttr      = 3
	attrMandatory = 4
	attrDefault   = 6
	attrType      = 3

	providerField = 3

	functionParam  = 2
	functionDoc    = 3
	paramDefault   = 3
	paramMandatory = 4

	extensionTag = 3
	tagAttr      = 3
)

// Attributes that all rules have.
const nameAttr = "name"

// attrTypes are the names of the enum AttributeType, by their numbers.
var attrTypes = []string{
	"", "name", "int", "label", "string", "string list", "int list", "label list", "bool",
	"dictionary of labels to strings", "dictionary of strings to strings",
	"dictionary of strings to lists of strings", "output", "output list",
	"dictionary of strings to labels",
}

// message is a protocol buffer, by field numbers.
type message map[protowire.Number][]field

// field is a value of a message: a number, or bytes.
type field struct {
	number uint64
	bytes  []byte
}

func parse(b []byte) (message, error) {
	m := make(message)
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		b = b[n:]
		var f field
		switch typ {
		case protowire.VarintType:
			f.number, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		b = b[n:]
		m[num] = append(m[num], f)
	}
	return m, nil
}

func (m message) text(num protowire.Number) string {
	if len(m[num]) == 0 {
		return ""
	}
	return strings.TrimSpace(string(m[num][0].bytes))
}

func (m message) value(num protowire.Number) uint64 {
	if len(m[num]) == 0 {
		return 0
	}
	return m[num][0].number
}

// messages returns the messages in a field, in the order of their names.
func (m message) messages(num protowire.Number, sorted bool) ([]message, error) {
	var all []message
	for _, f := range m[num] {
		sub, err := parse(f.bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, sub)
	}
	if sorted {
		slices.SortStableFunc(all, func(a, b message) int { return strings.Compare(a.text(entityName), b.text(entityName)) })
	}
	return all, nil
}

// Starlark returns the page about a .bzl file. Its argument is what Bazel's rule
// starlark_doc_extract made of the file, and load is the file's label.
func Starlark(load string, extracted []byte) (string, error) {
	module, err := parse(extracted)
	if err != nil {
		return "", err
	}
	w := &starlarkWriter{load: load}
	for _, part := range []struct {
		num   protowire.Number
		write func(message) error
	}{
		{moduleRule, w.rule},
		{moduleFunction, w.function},
		{moduleExtension, w.extension},
		{moduleProvider, w.provider},
	} {
		entities, err := module.messages(part.num, true)
		if err != nil {
			return "", err
		}
		for _, e := range entities {
			if err := part.write(e); err != nil {
				return "", err
			}
		}
	}
	return w.String(), nil
}

type starlarkWriter struct {
	strings.Builder
	load string
}

func (w *starlarkWriter) heading(name, doc string) {
	fmt.Fprintf(w, "\n## %s\n\n```starlark\nload(%q, %q)\n```\n", name, w.load, name)
	w.paragraph(doc)
}

func (w *starlarkWriter) paragraph(doc string) {
	if doc != "" {
		fmt.Fprintf(w, "\n%s\n", dedent(doc))
	}
}

// dedent takes the indentation from the lines after the first.
func dedent(doc string) string {
	lines := strings.Split(doc, "\n")
	indent := -1
	for _, line := range lines[1:] {
		if text := strings.TrimLeft(line, " "); text != "" && (indent < 0 || len(line)-len(text) < indent) {
			indent = len(line) - len(text)
		}
	}
	for i, line := range lines {
		if i > 0 && len(line) >= indent && indent > 0 {
			line = line[indent:]
		}
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}

// cell is a text in a table, where it has one line.
func cell(doc string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(doc), " "), "|", "\\|")
}

func (w *starlarkWriter) attributes(attrs []message) {
	if len(attrs) == 0 {
		return
	}
	w.WriteString("\n| attribute | type | |\n|---|---|---|\n")
	for _, a := range attrs {
		name, doc := a.text(entityName), a.text(entityDoc)
		typ := ""
		if t := a.value(attrType); t < uint64(len(attrTypes)) {
			typ = attrTypes[t]
		}
		if name == nameAttr {
			doc = "The name of the target."
		}
		if a.value(attrMandatory) != 0 {
			typ += ", required"
		} else if d := a.text(attrDefault); d != "" && d != "[]" && d != "{}" && d != `""` && d != "None" {
			typ += ", default `" + d + "`"
		}
		fmt.Fprintf(w, "| `%s` | %s | %s |\n", name, cell(typ), cell(doc))
	}
}

func (w *starlarkWriter) rule(m message) error {
	attrs, err := m.messages(ruleAttr, false)
	if err != nil {
		return err
	}
	w.heading(m.text(entityName), m.text(entityDoc))
	w.attributes(attrs)
	return nil
}

func (w *starlarkWriter) provider(m message) error {
	fields, err := m.messages(providerField, false)
	if err != nil {
		return err
	}
	w.heading(m.text(entityName), m.text(entityDoc))
	w.WriteString("\n| field | |\n|---|---|\n")
	for _, f := range fields {
		fmt.Fprintf(w, "| `%s` | %s |\n", f.text(entityName), cell(f.text(entityDoc)))
	}
	return nil
}

func (w *starlarkWriter) function(m message) error {
	params, err := m.messages(functionParam, false)
	if err != nil {
		return err
	}
	w.heading(m.text(entityName), m.text(functionDoc))
	w.WriteString("\n| parameter | |\n|---|---|\n")
	for _, p := range params {
		name := p.text(entityName)
		if d := p.text(paramDefault); p.value(paramMandatory) == 0 && d != "" {
			name += " = " + d
		}
		fmt.Fprintf(w, "| `%s` | %s |\n", name, cell(p.text(entityDoc)))
	}
	return nil
}

func (w *starlarkWriter) extension(m message) error {
	tags, err := m.messages(extensionTag, true)
	if err != nil {
		return err
	}
	name := m.text(entityName)
	fmt.Fprintf(w, "\n## %s\n\n```starlark\n%s = use_extension(%q, %q)\n```\n", name, name, w.load, name)
	w.paragraph(m.text(entityDoc))
	for _, tag := range tags {
		attrs, err := tag.messages(tagAttr, false)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "\n### %s.%s\n", name, tag.text(entityName))
		w.paragraph(tag.text(entityDoc))
		w.attributes(attrs)
	}
	return nil
}
