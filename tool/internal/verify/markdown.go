package verify

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/quote"
)

// Markdown returns the matrix of the report as a table of Markdown, as for the summary of a CI
// job: instructions processed of programs that are loaded, and the verdict of others.
func (r *Report) Markdown() []byte {
	var b bytes.Buffer
	kernels := r.kernels()
	b.WriteString("| program |")
	for _, k := range kernels {
		name := k.name
		if k.cpu != "x86_64" {
			name += " " + k.cpu
		}
		fmt.Fprintf(&b, " %s |", markdown(name))
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|", len(kernels)) + "\n")
	for _, o := range r.matrix().Objects {
		fmt.Fprintf(&b, "| **%s** |%s\n", markdown(o.Object), strings.Repeat(" |", len(kernels)))
		for _, row := range o.Rows {
			name := markdown(row.Program)
			if row.Preset != "" {
				name += ", " + markdown(row.Preset)
			}
			fmt.Fprintf(&b, "| %s |", name)
			for _, c := range row.Cells {
				b.WriteString(" ")
				if c != nil {
					b.WriteString(c.markdown() + " ")
				}
				b.WriteString("|")
			}
			b.WriteString("\n")
		}
	}
	return b.Bytes()
}

func (c *cell) markdown() string {
	switch {
	case c.Verdict != Loaded:
		return c.Short
	case len(c.Over) > 0:
		return fmt.Sprintf("**%d**", c.Insns)
	}
	return fmt.Sprint(c.Insns)
}

// markdown is a text that is no markup, in a cell of a table. A "_" within a name is none.
func markdown(text string) string {
	var b strings.Builder
	runes := []rune(quote.Text(text))
	for i, r := range runes {
		within := r == '_' && i > 0 && i < len(runes)-1 && runes[i-1] != '_' && runes[i+1] != '_'
		if !within && slices.Contains([]rune("\\`*_[]<>|#&"), r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
