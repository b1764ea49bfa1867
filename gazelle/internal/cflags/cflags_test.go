package cflags_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/cflags"
)

// TestSplit has the spellings that clang takes.
func TestSplit(t *testing.T) {
	for _, tt := range []struct{ words, want string }{
		{"-DA -D B=1 -UC", "-D:A -D:B=1 -U:C"},
		{"-Iinc -I inc -iquote q -isystem s -idirafter late", "-I:inc -I:inc -iquote:q -isystem:s -idirafter:late"},
		{"-include a.h -includea.h --include a.h --include=a.h", "-include:a.h -include:a.h -include:a.h -include:a.h"},
		{"-imacros a.h -imacrosa.h --imacros a.h --imacros=a.h", "-imacros:a.h -imacros:a.h -imacros:a.h -imacros:a.h"},
		// clang takes the equals sign for a part of the file's name.
		{"-include=a.h", "-include:=a.h"},
		{"-include-pch a.pch --include-with -Xclang -include -mllvm -bpf-x", "-include-pch:a.pch --include-with: -Xclang:-include -mllvm:-bpf-x"},
		{"-Wall -O2 x.c -target bpf", "-Wall: -O2: x.c: -target:bpf"},
		{"-include", "-include:"},
	} {
		var got []string
		for _, f := range cflags.Split(strings.Fields(tt.words)) {
			got = append(got, fmt.Sprintf("%s:%s", f.Name, f.Value))
		}
		if text := strings.Join(got, " "); text != tt.want {
			t.Errorf("%s: got %s, want %s", tt.words, text, tt.want)
		}
	}
}
