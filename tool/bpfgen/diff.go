package main

import (
	"flag"
	"fmt"

	"github.com/rules-bpf/rules_bpf/tool/internal/inspect"
)

// The exit statuses of diff: diff(1)'s. 0 is for objects without a difference.
const (
	differs    = 1
	diffFailed = 2
)

func diffObjects(fs *flag.FlagSet, args []string, std streams) error {
	asJSON := fs.Bool("json", false, "write JSON, for programs")
	if err := parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() != 2 {
		return usageError{fmt.Errorf("%d objects given, want 2", fs.NArg())}
	}
	old, err := readReport(fs.Arg(0))
	if err != nil {
		return err
	}
	latest, err := readReport(fs.Arg(1))
	if err != nil {
		return err
	}
	diff := inspect.Compare(old, latest)
	text := diff.Text()
	if *asJSON {
		if text, err = diff.JSON(); err != nil {
			return err
		}
	}
	if _, err := std.stdout.Write(text); err != nil {
		return err
	}
	if len(diff.Changes) > 0 {
		return exitError(differs)
	}
	return nil
}
