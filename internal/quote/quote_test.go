package quote_test

import (
	"testing"

	"github.com/rules-bpf/rules_bpf/internal/quote"
)

func TestQuote(t *testing.T) {
	for _, tt := range []struct{ in, name, text string }{
		{"", `""`, ""},
		{"max_len", "max_len", "max_len"},
		{".data.größe", ".data.größe", ".data.größe"},
		{"unsigned int", `"unsigned int"`, "unsigned int"},
		{`a"b`, `"a\"b"`, `a"b`},
		{"x\x1b[31mRED\nb.o: all is well.c", `"x\x1b[31mRED\nb.o: all is well.c"`, `"x\x1b[31mRED\nb.o: all is well.c"`},
		{"a\u202eb", `"a\u202eb"`, `"a\u202eb"`},
		{"a\u2066b", `"a\u2066b"`, `"a\u2066b"`},
		{"a\u2028b", `"a\u2028b"`, `"a\u2028b"`},
		{"a\u2029b", `"a\u2029b"`, `"a\u2029b"`},
		{"a\u00a0b", `"a\u00a0b"`, `"a\u00a0b"`},
		{"a\u200bb", `"a\u200bb"`, `"a\u200bb"`},
		{"a\xffb", `"a\xffb"`, `"a\xffb"`},
	} {
		if got := quote.Name(tt.in); got != tt.name {
			t.Errorf("Name(%q) = %s, want %s", tt.in, got, tt.name)
		}
		if got := quote.Text(tt.in); got != tt.text {
			t.Errorf("Text(%q) = %s, want %s", tt.in, got, tt.text)
		}
	}
}
