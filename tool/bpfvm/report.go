package main

import (
	"archive/zip"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/tool/internal/verify"
)

// subcommands are what bpfvm does besides running a test.
var subcommands = map[string]func(args []string, stdout io.Writer) (status int, err error){
	"report": compareReports,
	"merge":  mergeReports,
}

const reportUsage = `usage: bpfvm report [-by PERCENT] OLD NEW

It compares two reports of the verifier, and says which programs take more or less than
they did. OLD and NEW are files of bpfgen verify -json or of a bpf_verifier_test, or
directories with such files, as of bazel-testlogs, which count as one.

The exit status is 0 when nothing is heavier, 1 when something is, and 2 for a failure. A
program that loads no more counts as heavier, and the time does not count.

`

const mergeUsage = `usage: bpfvm merge [-json FILE] [-html FILE] [-md FILE] REPORT...

It makes one report of those of several kernels: files of bpfgen verify -json or of a
bpf_verifier_test, or directories with such files, as of bazel-testlogs. It prints tables
unless it writes a file. The exit status is 0, or 2 for a failure.

`

// reportFailed is the exit status of both for a failure.
const reportFailed = 2

// parseReport parses the flags of a subcommand. done is true when only help was requested.
func parseReport(set *flag.FlagSet, usage string, args []string, stdout io.Writer) (done bool, err error) {
	set.SetOutput(io.Discard)
	err = set.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage)
		set.SetOutput(stdout)
		set.PrintDefaults()
		return true, nil
	}
	return false, err
}

func compareReports(args []string, stdout io.Writer) (int, error) {
	set := flag.NewFlagSet("report", flag.ContinueOnError)
	by := set.Float64("by", 0, "`percent` by which a figure may differ and count as equal")
	done, err := parseReport(set, reportUsage, args, stdout)
	switch {
	case err != nil:
		return reportFailed, err
	case done:
		return 0, nil
	case set.NArg() != 2:
		return reportFailed, fmt.Errorf("report: %d reports given, want 2: bpfvm report OLD NEW (bpfvm merge makes one of several)", set.NArg())
	case *by < 0:
		return reportFailed, errors.New("report: -by is a percentage, and not negative")
	}
	old, err := readReports(set.Arg(0))
	if err != nil {
		return reportFailed, err
	}
	latest, err := readReports(set.Arg(1))
	if err != nil {
		return reportFailed, err
	}
	c := verify.Compare(old, latest, *by)
	if _, err := stdout.Write(c.Text()); err != nil {
		return reportFailed, err
	}
	if c.Heavier() {
		return 1, nil
	}
	return 0, nil
}

func mergeReports(args []string, stdout io.Writer) (int, error) {
	set := flag.NewFlagSet("merge", flag.ContinueOnError)
	jsonFile := set.String("json", "", "`file` to write the report to")
	page := set.String("html", "", "`file` to write the page for browsers to")
	table := set.String("md", "", "`file` to write the matrix to, as a table of Markdown")
	done, err := parseReport(set, mergeUsage, args, stdout)
	switch {
	case err != nil:
		return reportFailed, err
	case done:
		return 0, nil
	case set.NArg() == 0:
		return reportFailed, errors.New("merge: no report given: bpfvm merge -html all.html REPORT")
	}
	report, err := readReports(set.Args()...)
	if err != nil {
		return reportFailed, err
	}
	if *jsonFile == "" && *page == "" && *table == "" {
		_, err := stdout.Write(report.Text())
		return 0, err
	}
	data, err := report.JSON()
	if err != nil {
		return reportFailed, err
	}
	for _, out := range []struct {
		file string
		data []byte
	}{{*jsonFile, data}, {*page, verify.Page(report)}, {*table, report.Markdown()}} {
		if out.file == "" {
			continue
		}
		if err := os.WriteFile(here(out.file), out.data, 0o644); err != nil {
			return reportFailed, fmt.Errorf("%s: %w", quote.Text(out.file), quote.Cause(err))
		}
	}
	return 0, nil
}

// here returns a path in the directory in which the user has called `bazel run`, or in the current
// one.
func here(path string) string {
	if dir := os.Getenv("BUILD_WORKING_DIRECTORY"); dir != "" && !filepath.IsAbs(path) {
		return filepath.Join(dir, path)
	}
	return path
}

// readReports reads files and directories as one report.
func readReports(paths ...string) (*verify.Report, error) {
	var all []*verify.Report
	for _, path := range paths {
		info, err := os.Stat(here(path))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", quote.Text(path), quote.Cause(err))
		}
		if !info.IsDir() {
			report, err := verify.ReadFile(here(path))
			if err != nil {
				return nil, err
			}
			all = append(all, report)
			continue
		}
		found, err := findReports(here(path))
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("%s: no %s is in the directory: run the bpf_verifier_test before, or give the file", quote.Text(path), verify.JSONFile)
		}
		all = append(all, found...)
	}
	return verify.Merge(all...)
}

// outputsZip is where Bazel keeps a test's outputs with --zip_undeclared_test_outputs.
const outputsZip = "outputs.zip"

// findReports reads all reports below a directory, which may be a link as those of Bazel are.
func findReports(dir string) ([]*verify.Report, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	var found []*verify.Report
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var report *verify.Report
		switch entry.Name() {
		case verify.JSONFile:
			report, err = verify.ReadFile(path)
		case outputsZip:
			report, err = readZip(path)
		}
		if report != nil {
			found = append(found, report)
		}
		return err
	})
	return found, err
}

// readZip reads the report in the outputs of a test, and returns nil when there is none.
func readZip(path string) (*verify.Report, error) {
	r, err := zip.OpenReader(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", quote.Text(path), err)
	}
	defer r.Close()
	f, err := r.Open(verify.JSONFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", quote.Text(path), err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", quote.Text(path), err)
	}
	report, err := verify.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", quote.Text(path), verify.JSONFile, err)
	}
	return report, nil
}
