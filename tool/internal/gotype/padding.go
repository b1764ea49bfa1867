package gotype

// Span is the bytes from Start up to End.
type Span struct{ Start, End uint64 }

// Padding returns where a value of type t has bytes that no field has. The kernel compares
// them when the value is the key of a hash, and Go does not promise to copy them.
func Padding(t Type) []Span { return appendPadding(nil, t, 0) }

func appendPadding(spans []Span, t Type, at uint64) []Span {
	switch t := t.(type) {
	case arrayType:
		// Mostly there is none: text and the like, of any length.
		if len(Padding(t.elem)) == 0 {
			return spans
		}
		for i := range uint64(t.n) {
			spans = appendPadding(spans, t.elem, at+i*t.elem.Size())
		}
	case *structType:
		for _, f := range t.fields {
			if f.name != "" {
				spans = appendPadding(spans, f.typ, at+f.offset)
			} else if size := f.typ.Size(); size > 0 {
				spans = append(spans, Span{at + f.offset, at + f.offset + size})
			}
		}
	}
	return spans
}
