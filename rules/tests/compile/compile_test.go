package compile_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// What a failing compile says is clang's own message, with the place in the
// user's file by the name that it has in the source tree.
func TestMessages(t *testing.T) {
	const dir = "rules/tests/compile/"
	for _, test := range []struct {
		name string
		want []string
	}{
		{"syntax_error", []string{dir + "syntax_error.bpf.c:7:17: error: expected ';' after return statement", "return XDP_PASS"}},
		{"missing_header", []string{dir + "missing_header.bpf.c:2:10: fatal error: 'no/such/header.h' file not found"}},
		{"undeclared_header", []string{dir + "undeclared_header.bpf.c:1:10: fatal error: 'undeclared.h' file not found"}},
		{"host_header", []string{dir + "host_header.bpf.c:1:10: fatal error: 'stdio.h' file not found"}},
		{"error_in_header", []string{dir + "error_in_header.bpf.c:2:", dir + "error.h:2:23: error: "}},
		{"no_asm_headers", []string{
			dir + "no_asm_headers.bpf.c:1:",
			`error: "asm/types.h: this machine has no kernel headers for riscv cpus`,
			"linux-libc-dev-riscv64-cross",
			"fatal error: 'asm/types.h: see the error above' file not found",
		}},
		{"no_linux_headers", []string{
			dir + "no_linux_headers.bpf.c:1:",
			`error: "linux/bpf.h: found no kernel headers`,
			"fatal error: 'linux/bpf.h: see the error above' file not found",
		}},
		{"bad_flag", []string{"error: unknown argument: '-fno-such-flag'"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			stderr, err := os.ReadFile(test.name + ".stderr")
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range test.want {
				if !strings.Contains(string(stderr), want) {
					t.Errorf("stderr lacks %q:\n%s", want, stderr)
				}
			}
			// Not one more: an error is easily overlooked behind those that follow
			// from it.
			want := 0
			for _, message := range test.want {
				want += strings.Count(message, "error: ")
			}
			if got := strings.Count(string(stderr), "error: "); got != want {
				t.Errorf("%d errors, want %d:\n%s", got, want, stderr)
			}
		})
	}
}

// Flags are those of the BUILD file with paths and make variables put in, however long the line.
func TestFlags(t *testing.T) {
	object, err := os.ReadFile("many_flags.bpf.o")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`forced (fastbuild|dbg|opt) \$\x00`).Match(object) {
		t.Error("the object lacks the text of the flags")
	}
}
