package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rules-bpf/rules_bpf/tool/internal/inspect"
)

func inspectObject(fs *flag.FlagSet, args []string, std streams) error {
	asJSON := fs.Bool("json", false, "write JSON, for programs")
	if err := parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return usageError{fmt.Errorf("%d objects given, want 1", fs.NArg())}
	}
	in := fs.Arg(0)
	report, err := readReport(in)
	if err != nil {
		return err
	}
	text := report.Text()
	if *asJSON {
		if text, err = report.JSON(); err != nil {
			return inFile(in, err)
		}
	}
	_, err = std.stdout.Write(text)
	return err
}

// readReport reads an object, or the image of one.
func readReport(file string) (*inspect.Report, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, inFile(file, err)
	}
	report, err := inspect.Read(filepath.Base(file), data)
	if err != nil {
		return nil, inFile(file, err)
	}
	return report, nil
}
