// Smoke prints what its skeletons hold before they are loaded.
package main

import (
	"fmt"
	"os"

	"example.com/smoke/execs"
	"example.com/smoke/nested"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	a, err := execs.Open()
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := nested.Open()
	if err != nil {
		return err
	}
	defer b.Close()
	fmt.Println(a.Data.Execs, b.Data.Answer)
	return nil
}
