// Bpfverify is the executable of a bpf_verifier_test: it loads the programs of BPF objects into
// the kernel that it runs in, and reports what the verifier makes of them. What to load is in
// the file beside it that has its name and ".json" at the end.
//
// It does what Bazel asks of tests: cases in XML_OUTPUT_FILE, reports among the undeclared
// outputs, --test_filter and shards. The exit status is 1 when a program fails the test.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/tool/internal/verify"
)

// A config is what to load. Files are relative to the directory that tests start in.
type config struct {
	Objects []string `json:"objects"`
	// Limits are lists of FIGURE=NUMBER by programs.
	Limits map[string][]string `json:"limits"`
	// MayFail are lists of "PROGRAM: REASON" by kernels.
	MayFail map[string][]string `json:"may_fail"`
	Presets []preset            `json:"presets"`
	// Sections and Targets are as in verify.Options, Programs too.
	Sections   map[string]string `json:"sections"`
	Targets    map[string]string `json:"targets"`
	Programs   []string          `json:"programs"`
	MaxEntries uint32            `json:"max_entries"`
	// KernelTypes may be empty.
	KernelTypes string `json:"kernel_types"`
}

// A preset is what File has, or Text.
type preset struct {
	Name string `json:"name"`
	File string `json:"file"`
	Text string `json:"text"`
}

func main() {
	failed, err := run(os.Args, os.Getenv, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bpf_verifier_test:", err)
	}
	if failed || err != nil {
		os.Exit(1)
	}
}

// Native is the name in may_fail of the machine's kernel.
const native = "native"

// run reports whether a program fails the test.
func run(args []string, env func(string) string, stdout io.Writer) (failed bool, err error) {
	if len(args) > 1 {
		return false, fmt.Errorf("%s: takes no arguments", quote.Text(args[1]))
	}
	self, err := filepath.Abs(args[0])
	if err != nil {
		return false, err
	}
	data, err := os.ReadFile(self + ".json")
	if err != nil {
		return false, fmt.Errorf("is the executable of a bpf_verifier_test, and nothing to run by hand: use bpfgen verify: %w", err)
	}
	var c config
	if err := json.Unmarshal(data, &c); err != nil {
		return false, fmt.Errorf("%s.json: %w", self, err)
	}
	// Set by what runs tests in a kernel.
	o, err := c.options(env("BPF_KERNEL"))
	if err != nil {
		return false, err
	}
	if err := choose(o, env); err != nil {
		return false, err
	}
	report, err := verify.Run(*o)
	if err != nil {
		return false, err
	}
	if _, err := stdout.Write(report.Text()); err != nil {
		return false, err
	}
	if len(report.Results) == 0 {
		fmt.Fprintln(stdout, "no programs to load")
	}
	problems := report.Problems()
	for _, p := range problems {
		fmt.Fprintf(stdout, "FAIL: %s\n", p)
	}
	return len(problems) > 0, write(report, env)
}

// options are those for a kernel with a name, the machine's when that is empty.
func (c *config) options(kernel string) (*verify.Options, error) {
	o := &verify.Options{Objects: c.Objects, Sections: c.Sections, Targets: c.Targets, Programs: c.Programs, MaxEntries: c.MaxEntries, KernelTypes: c.KernelTypes}
	for program, texts := range c.Limits {
		limits, err := verify.ParseLimits(program, texts...)
		if err != nil {
			return nil, err
		}
		o.Limits = append(o.Limits, limits...)
	}
	name := kernel
	if name == "" {
		name = native
	}
	for _, text := range c.MayFail[name] {
		e, err := verify.ParseException(text)
		if err != nil {
			return nil, err
		}
		o.MayFail = append(o.MayFail, e)
	}
	for _, p := range c.Presets {
		var read *verify.Preset
		var err error
		if p.File != "" {
			read, err = verify.ReadPreset(p.Name, p.File)
		} else {
			read, err = verify.ParsePreset(p.Name, fmt.Sprintf("preset %s", quote.Name(p.Name)), []byte(p.Text))
		}
		if err != nil {
			return nil, err
		}
		o.Presets = append(o.Presets, read)
	}
	o.Kernel = verify.KernelName(kernel)
	return o, nil
}

// choose restricts the programs to those that --test_filter and the shard select.
func choose(o *verify.Options, env func(string) string) error {
	var filter *regexp.Regexp
	if text := env("TESTBRIDGE_TEST_ONLY"); text != "" {
		var err error
		if filter, err = regexp.Compile(text); err != nil {
			return fmt.Errorf("--test_filter: %w", err)
		}
	}
	shards, shard := 1, 0
	if text := env("TEST_TOTAL_SHARDS"); text != "" {
		var errs [2]error
		shards, errs[0] = strconv.Atoi(text)
		shard, errs[1] = strconv.Atoi(env("TEST_SHARD_INDEX"))
		if err := errors.Join(errs[:]...); err != nil || shards < 1 {
			return fmt.Errorf("shard %s of %s: %w", env("TEST_SHARD_INDEX"), text, err)
		}
		if file := env("TEST_SHARD_STATUS_FILE"); file != "" {
			if err := os.WriteFile(file, nil, 0o644); err != nil {
				return err
			}
		}
	}
	n := -1
	o.Selects = func(r *verify.Result) bool {
		if filter != nil && !filter.MatchString(r.Case()) {
			return false
		}
		n++
		return n%shards == shard
	}
	return nil
}

// write writes what Bazel shows of a test, and what people look at.
func write(report *verify.Report, env func(string) string) error {
	cases, err := report.JUnit()
	if err != nil {
		return err
	}
	data, err := report.JSON()
	if err != nil {
		return err
	}
	var errs []error
	if file := env("XML_OUTPUT_FILE"); file != "" {
		errs = append(errs, os.WriteFile(file, cases, 0o644))
	}
	if dir := env("TEST_UNDECLARED_OUTPUTS_DIR"); dir != "" {
		errs = append(errs,
			os.WriteFile(filepath.Join(dir, verify.JSONFile), data, 0o644),
			os.WriteFile(filepath.Join(dir, verify.PageFile), verify.Page(report), 0o644))
	}
	return errors.Join(errs...)
}
