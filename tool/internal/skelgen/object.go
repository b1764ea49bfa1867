package skelgen

import "fmt"

const (
	// minLine is the number of the object's bytes per line of source. Small objects
	// stay within the width of a screen.
	minLine = 32
	// maxLines bounds the number of lines, each of which is an operand of one
	// expression that the Go compiler has to add up.
	maxLines = 500
)

// appendBytes appends data as a constant with the name and the doc comment. It is a
// string so that it lies in read-only memory, shared by all that open it.
func appendBytes(b []byte, doc, name string, data []byte) []byte {
	b = fmt.Appendf(b, "\n// %s\nconst %s = \"\"", doc, name)
	line := max(minLine, (len(data)+maxLines-1)/maxLines)
	for len(data) > 0 {
		n := min(line, len(data))
		b = append(b, " +\n\t\""...)
		for _, c := range data[:n] {
			b = appendEscaped(b, c)
		}
		b = append(b, '"')
		data = data[n:]
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
