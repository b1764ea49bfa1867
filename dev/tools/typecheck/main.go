// Typecheck loads Go packages as gopls does, by the driver that GOPACKAGESDRIVER names, checks
// the types of each file, and prints the import paths of all packages that it has seen.
//
//	typecheck DIRECTORY PATTERN...
//
// It exits with 1 when a package has errors, such as an import that the driver does not know.
package main

import (
	"fmt"
	"os"
	"slices"

	"golang.org/x/tools/go/packages"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: typecheck DIRECTORY PATTERN...")
		os.Exit(1)
	}
	pkgs, err := packages.Load(&packages.Config{
		Mode:  packages.LoadAllSyntax,
		Dir:   os.Args[1],
		Tests: true,
	}, os.Args[2:]...)
	if err != nil {
		fmt.Fprintln(os.Stderr, "typecheck:", err)
		os.Exit(1)
	}
	if len(pkgs) == 0 {
		fmt.Fprintln(os.Stderr, "typecheck: no packages match")
		os.Exit(1)
	}
	var paths []string
	packages.Visit(pkgs, nil, func(p *packages.Package) { paths = append(paths, p.PkgPath) })
	slices.Sort(paths)
	for _, path := range slices.Compact(paths) {
		fmt.Println(path)
	}
	if packages.PrintErrors(pkgs) > 0 {
		os.Exit(1)
	}
}
