package skelgen

import (
	"fmt"

	"github.com/rules-bpf/rules_bpf/tool/internal/gotype"
)

const (
	// minLine is the number of the object's bytes per line of source. Small objects
	// stay within the width of a screen.
	minLine = 32
	// maxLines bounds the number of lines, each of which is an operand of one
	// expression that the Go compiler has to add up.
	maxLines = 500
)

// appendObject appends the object as a constant. It is a string so that it lies
// in read-only memory, shared by all that open it.
func appendObject(b []byte, name string, elf []byte) []byte {
	b = fmt.Appendf(b, "\n// object is %s in the form that the loader takes, without debug information.\nconst object = \"\"", gotype.Comment(name))
	line := max(minLine, (len(elf)+maxLines-1)/maxLines)
	for len(elf) > 0 {
		n := min(line, len(elf))
		b = append(b, " +\n\t\""...)
		for _, c := range elf[:n] {
			b = appendEscaped(b, c)
		}
		b = append(b, '"')
		elf = elf[n:]
	}
	return append(b, '\n')
}

func appendEscaped(b []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch {
	case c == '"' || c == '\\':
		return append(b, '\\', c)
	case c >= ' ' && c <= '~':
		return append(b, c)
	}
	return append(b, '\\', 'x', hex[c>>4], hex[c&0xf])
}
