package gogenerate_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/rules-bpf/rules_bpf/internal/gogenerate"
)

func TestLines(t *testing.T) {
	const file = `package main

//go:generate go tool prog a b
//go:generate -command gen env X=1 go run example.com/prog@v1.2.3 -x
//go:generate gen "two words" $GOFILE ${GOPACKAGE} $OTHER
//go:generate sh -c "cd .. && prog inner"
//go:generate program a
// go:generate prog a
//go:generate prog "open
//go:generate other "open
//go:generate prog "\q"
//go:generate prog $GOFILE-$GOFILE$GOPACKAGE $GOFILES ${GOFILE $DOLLAR{GOFILE} $ $1
`
	want := []gogenerate.Line{
		{Number: 3, Package: "main", Args: []string{"a", "b"}},
		{Number: 5, Package: "main", Args: []string{"-x", "two words", "x.go", "main", "$OTHER"}},
		{Number: 6, Package: "main", Args: []string{"inner"}},
		{Number: 9, Package: "main", Err: errors.New("has a quote without its other end: close it, or put a backslash in front of it")},
		{Number: 11, Package: "main", Err: errors.New("has a quote without its other end: close it, or put a backslash in front of it")},
		{Number: 12, Package: "main", Args: []string{"x.go-x.gomain", "$GOFILES", "${GOFILE", "${GOFILE}", "$", "$1"}},
	}
	got := gogenerate.Lines("dir/x.go", []byte(file), "prog")
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestFields(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"  -g\t-O2\n", []string{"-g", "-O2"}},
		{`"-DA=b c" '-D"x"' -I"/a b"/c`, []string{"-DA=b c", `-D"x"`, "-I/a b/c"}},
		{`-DA=\"text\" a\ b 'a\b' "a\b\"c"`, []string{`-DA="text"`, "a b", `a\b`, `a\b"c`}},
		{`'' ""`, []string{"", ""}},
	} {
		got, err := gogenerate.Fields(tt.text)
		if err != nil || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tt.want) {
			t.Errorf("%s: got %q, %v, want %q", tt.text, got, err, tt.want)
		}
	}
	for _, text := range []string{`"a`, `'a`, `a"b'`} {
		if got, err := gogenerate.Fields(text); err == nil {
			t.Errorf("%s: got %q, want an error", text, got)
		}
	}
}
