package main

import (
	"bytes"
	"debug/elf"
	"os"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
)

// Each program has the object for its own cpu, and no other.
func TestObjectOfTheProgram(t *testing.T) {
	all := map[string]string{"AMD64": "cpu is x86.", "ARM64": "cpu is arm64.", "S390X": "cpu is s390."}
	for cpu := range all {
		file, err := runfiles.Rlocation(os.Getenv(cpu))
		if err != nil {
			t.Fatal(err)
		}
		program, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for other, text := range all {
			if got := bytes.Contains(program, []byte(text)); got != (other == cpu) {
				t.Errorf("%s: %q is there: %v", cpu, text, got)
			}
		}
		header := []byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)}
		if cpu == "S390X" {
			header[5] = byte(elf.ELFDATA2MSB)
		}
		// Its own header, and the object's.
		if n := bytes.Count(program, header); n != 2 {
			t.Errorf("%s: %d ELF headers of its byte order, want 2", cpu, n)
		}
	}
}
