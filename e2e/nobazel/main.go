// Nobazel drops packets after the first ones. It is built without Bazel: its BPF objects
// are made by go generate.
package main

import (
	"fmt"
	"os"

	"example.com/nobazel/limit"
)

// Two objects in one package, one for either byte order and one for architectures.
//
//go:generate go tool bpfgen generate -subskeleton limit=example.com/nobazel/limit edge edge.bpf.c limit/limit.bpf.c
//go:generate go tool bpfgen generate -target native,s390x -elf CPU cpu.bpf.c

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	skel, err := openEdge()
	if err != nil {
		return err
	}
	defer skel.Close()
	setLimit(skel.Subskeletons.Limit, 100)
	return skel.Load()
}

// setLimit sets how many packets pass, before the program is loaded.
func setLimit(lib *limit.Subskeleton, n uint64) { *lib.Rodata.Limit = n }
