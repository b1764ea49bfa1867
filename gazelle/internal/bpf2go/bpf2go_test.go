package bpf2go_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/bpf2go"
)

func TestCommands(t *testing.T) {
	for _, tt := range []struct{ name, lines, want string }{
		{
			"tool", "//go:generate go tool bpf2go -tags linux bpf xdp.c -- -I../headers",
			"bpf xdp.c pkg main constraint linux includes [../headers]",
		},
		{
			"run with a version",
			`//go:generate go run github.com/cilium/ebpf/cmd/bpf2go@v0.18.0 -cflags "-g -O2 -Wall -D__TARGET_ARCH_${GOARCH} -DMODE=1 '-DTEXT=a b'" -target ${GOARCH} -type metric -type event dns ./_cprog/dns.c -- -I../lib/_${GOARCH} -I../lib/common`,
			"dns _cprog/dns.c pkg main types [metric event] targets [${GOARCH}] defines [MODE=1 TEXT=a b] includes [../lib/_${GOARCH} ../lib/common]",
		},
		{
			"environment", "//go:generate env CC=x bpf2go -cc $BPF_CLANG -cflags $BPF_CFLAGS -target amd64,arm64 -go-package other Bpf ../../bpf/flows.c -- -I../../bpf/headers",
			"Bpf ../../bpf/flows.c pkg other targets [amd64 arm64] includes [../../bpf/headers]",
		},
		{
			"output", "//go:generate bpf2go --output-stem=small -output-dir gen -output-suffix _test -no-strip -Dx x.c",
			"3: has the flag -Dx, which is not known here",
		},
		{
			"output, well", "//go:generate bpf2go --output-stem=small -output-dir ./gen -output-suffix _x -no-strip -no-global-types Ident x.c -- -D LONG -DA=B -UC -U E -O1 -include first.h -x c -I . -isystem sys -I/usr/include -I.:/usr/include/bpf -Wno-x -mcpu=v2",
			"Ident x.c pkg main dir gen stem small defines [LONG A=B] includes [. sys] copts [-UC -U E -O1 -include first.h -Wno-x -mcpu=v2]",
		},
		{
			"command", "//go:generate -command gen go tool bpf2go -type a\n//go:generate gen one one.c\n//go:generate gen -type b two two.c",
			"one one.c pkg main types [a]\ntwo two.c pkg main types [a b]",
		},
		{"package", "//go:generate bpf2go -go-package $GOPACKAGE ${GOPACKAGE}Prog x.c", "mainProg x.c pkg main"},
		{"shell", `//go:generate sh -c "cd .. && bpf2go bpf x.c"`, "bpf x.c pkg main"},
		{"others", "//go:generate stringer -type X\n// go:generate bpf2go a a.c\n//go:generatebpf2go a a.c\n", ""},
		{"no source", "//go:generate bpf2go a", "3: names no source: it must be an identifier and a C file"},
		{"unknown flag", "//go:generate bpf2go -unknown x a a.c", "3: has the flag -unknown, which is not known here"},
		{"unknown source", "//go:generate bpf2go a ${DIR}/a.c", "3: names its source ${DIR}/a.c by a variable, whose value is not known here"},
		{"open quote", "//go:generate go run github.com/cilium/ebpf/cmd/bpf2go@v0.22.0 -cflags \"-O2 a a.c", "3: has a quote without its other end: close it, or put a backslash in front of it"},
		{"open quote in flags", "//go:generate bpf2go -cflags \"-DA='b\" a a.c", "3: -cflags has a quote without its other end: close it, or put a backslash in front of it"},
		{"open quote of another", "//go:generate echo \"a", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, c := range bpf2go.Commands("gen.go", []byte("package main\n\n"+tt.lines+"\n")) {
				if c.Err != nil {
					got = append(got, fmt.Sprintf("%d: %v", c.Line, c.Err))
					continue
				}
				text := c.Ident + " " + c.Source + " pkg " + c.Package
				for _, part := range []struct {
					name string
					list []string
				}{
					{"constraint", one(c.Constraint)}, {"dir", one(c.Dir)}, {"stem", one(c.OutputStem)}, {"types", c.Types}, {"targets", c.Targets},
					{"defines", c.Defines}, {"includes", c.Includes}, {"copts", c.Copts},
				} {
					switch {
					case len(part.list) == 0:
					case part.name == "constraint" || part.name == "dir" || part.name == "stem":
						text += " " + part.name + " " + part.list[0]
					default:
						text += fmt.Sprintf(" %s %v", part.name, part.list)
					}
				}
				got = append(got, text)
			}
			if strings.Join(got, "\n") != tt.want {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), tt.want)
			}
		})
	}
}

func one(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func TestWrites(t *testing.T) {
	c := bpf2go.Command{Ident: "Bpf"}
	written := []string{"bpf_bpfel.go", "bpf_bpfeb.o", "bpf_x86_bpfel.go", "bpf_bpfel_x86.go"}
	for _, name := range append(slices.Clone(written), "bpf.go", "bpf_test.go", "bpf_helper.go", "other_bpfel.go", "bpf_bpfel.c", "bpf_one_two_bpfel.go") {
		if got, want := c.Writes(name), slices.Contains(written, name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if c := (bpf2go.Command{Ident: "x", OutputSuffix: "_test"}); !c.Writes("x_bpfel_test.go") || c.Writes("x_bpfel.go") {
		t.Error("suffix _test")
	}
}

func FuzzCommands(f *testing.F) {
	f.Add(`go tool bpf2go -cflags "-I 'a" bpf "x\`)
	f.Fuzz(func(t *testing.T, line string) {
		bpf2go.Commands("x.go", []byte("package x\n//go:generate bpf2go "+line+"\n"))
	})
}

func TestMerge(t *testing.T) {
	line := func(ident string, defines []string, copts ...string) bpf2go.Command {
		return bpf2go.Command{Ident: ident, Types: []string{ident + "_t"}, Defines: defines, Copts: copts}
	}
	for _, tt := range []struct {
		lines []bpf2go.Command
		want  string
	}{
		{[]bpf2go.Command{line("a", nil), line("b", nil)}, "[] [] []"},
		{[]bpf2go.Command{line("a", []string{"X"}), line("b", []string{"X"}), line("c", []string{"Y"})}, "[] [] [{a [-DX]} {c [-DY]}]"},
		{[]bpf2go.Command{line("a", []string{"X", "ALL"}, "-O1"), line("b", []string{"ALL"}, "-O1")}, "[ALL] [-O1] [{a [-DX]} {b []}]"},
		{[]bpf2go.Command{line("a", []string{"ALL"}, "-O1"), line("b", []string{"ALL"}, "-O1", "-w")}, "[ALL] [] [{a [-O1]} {b [-O1 -w]}]"},
		// Order and repetition say nothing, unless a macro is defined anew: the last counts.
		{[]bpf2go.Command{line("a", []string{"A", "B"}), line("b", []string{"B", "A", "B"})}, "[A B] [] []"},
		{[]bpf2go.Command{line("a", []string{"A=1", "A=2", "B"}), line("b", []string{"B", "A=2", "A=1"})},
			"[B] [] [{a [-DA=1 -DA=2]} {b [-DA=2 -DA=1]}]"},
		{[]bpf2go.Command{line("a", []string{"A=1"}), line("b", []string{"A=2", "A=1"})}, "[] [] [{a [-DA=1]} {b [-DA=2 -DA=1]}]"},
		{[]bpf2go.Command{line("a", []string{"F(x)=x"}), line("b", []string{"F(x)=1", "F(x)=x"})},
			"[] [] [{a [-DF(x)=x]} {b [-DF(x)=1 -DF(x)=x]}]"},
	} {
		merged := bpf2go.Merge(tt.lines)
		if got := fmt.Sprint(merged.Defines, " ", merged.Copts, " ", merged.Variants); got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.lines, got, tt.want)
		}
		if len(merged.Types) != len(tt.lines) {
			t.Errorf("%v: types %v", tt.lines, merged.Types)
		}
	}
}
