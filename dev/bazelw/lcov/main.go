// Lcov does what Bazel's coverage output generator does, for Bazels that cannot fetch it:
// of the LCOV files that a test has written it makes the test's coverage, and of those of all
// tests the combined report. Bazel calls it by the flags of that program.
//
// It knows lines, functions and branches of LCOV files, which is what tests in Go write. Those of
// gcov and LLVM are not converted: it says so, and fails.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "lcov:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("lcov", flag.ContinueOnError)
	dir := flags.String("coverage_dir", "", "the `directory` with what a test has written: *.dat, at any depth")
	reports := flags.String("reports_file", "", "a `file` with the names of LCOV files, one per line, instead of -coverage_dir")
	output := flags.String("output_file", "", "the LCOV `file` to write")
	manifest := flags.String("source_file_manifest", "", "a `file` with the names of all sources that count, one per line; without it, all do")
	var filters []*regexp.Regexp
	flags.Func("filter_sources", "a regular `expression`: sources whose whole name it matches do not count", func(s string) error {
		re, err := regexp.Compile("^(?:" + s + ")$")
		filters = append(filters, re)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || *output == "" || (*dir == "") == (*reports == "") {
		return errors.New("needs -output_file, one of -coverage_dir and -reports_file, and no further arguments")
	}

	var names []string
	var err error
	if *reports != "" {
		names, err = lines(*reports)
	} else {
		names, err = tracefiles(*dir)
	}
	if err != nil {
		return err
	}
	all := report{}
	for _, name := range names {
		if err := all.read(name); err != nil {
			return err
		}
	}
	if *manifest != "" {
		sources, err := lines(*manifest)
		if err != nil {
			return err
		}
		maps.DeleteFunc(all, func(name string, _ *source) bool { return !slices.Contains(sources, name) })
	}
	maps.DeleteFunc(all, func(name string, _ *source) bool {
		return slices.ContainsFunc(filters, func(re *regexp.Regexp) bool { return re.MatchString(name) })
	})

	f, err := os.Create(*output)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	all.write(w)
	return errors.Join(w.Flush(), f.Close())
}

// lines returns the lines of a file that are not empty.
func lines(name string) ([]string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool { return line == "" }), nil
}

// tracefiles returns the LCOV files in a directory.
func tracefiles(dir string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		for _, ending := range []string{".gcov", ".gcov.json.gz", ".profdata"} {
			if strings.HasSuffix(path, ending) {
				return fmt.Errorf("%s: only LCOV files are known here: run Bazel where it can fetch its own coverage output generator", path)
			}
		}
		if filepath.Ext(path) == ".dat" {
			names = append(names, path)
		}
		return nil
	})
	return names, err
}

// A report has sources by their names.
type report map[string]*source

// A source has what was counted in one file.
type source struct {
	// lines has counts by line numbers.
	lines map[int]uint64
	// functions has the lines where functions begin, and calls their counts, by name.
	functions map[string]int
	calls     map[string]uint64
	branches  map[branch]*taken
}

// A branch is one way to go on from a line.
type branch struct {
	line           int
	block, outcome string
}

// taken says how often, and whether the line was run at all.
type taken struct {
	count uint64
	known bool
}

// read adds what an LCOV file has.
func (r report) read(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var s *source
	for i, line := range strings.Split(string(text), "\n") {
		kind, value, _ := strings.Cut(strings.TrimSuffix(line, "\r"), ":")
		wrong := func(why string) error { return fmt.Errorf("%s:%d: %q: %s", name, i+1, line, why) }
		switch kind {
		case "SF":
			if s = r[value]; s == nil {
				s = &source{map[int]uint64{}, map[string]int{}, map[string]uint64{}, map[branch]*taken{}}
				r[value] = s
			}
			continue
		case "end_of_record":
			s = nil
			continue
		case "DA", "FN", "FNDA", "BRDA":
			if s == nil {
				return wrong("is in no record: want SF: before it")
			}
		default:
			// Sums, which are made anew, and what has no counts.
			continue
		}
		if err := s.add(kind, strings.Split(value, ",")); err != nil {
			return wrong(err.Error())
		}
	}
	return nil
}

// add adds a line of an LCOV file, of one of the kinds that have counts.
func (s *source) add(kind string, fields []string) error {
	want := map[string]int{"DA": 2, "FN": 2, "FNDA": 2, "BRDA": 4}[kind]
	if len(fields) < want {
		return fmt.Errorf("has %d fields, want %d", len(fields), want)
	}
	if kind == "FNDA" {
		count, err := strconv.ParseUint(fields[0], 10, 64)
		s.calls[fields[1]] += count
		return err
	}
	line, err := strconv.Atoi(fields[0])
	if err != nil {
		return err
	}
	switch kind {
	case "DA":
		count, err := strconv.ParseUint(fields[1], 10, 64)
		s.lines[line] += count
		return err
	case "FN":
		// LCOV 2 has the function's last line before its name.
		s.functions[fields[len(fields)-1]] = line
		return nil
	}
	b := branch{line, fields[1], fields[2]}
	if s.branches[b] == nil {
		s.branches[b] = &taken{}
	}
	if fields[3] == "-" {
		return nil
	}
	count, err := strconv.ParseUint(fields[3], 10, 64)
	s.branches[b].count += count
	s.branches[b].known = true
	return err
}

// write writes the report as an LCOV file.
func (r report) write(w io.Writer) {
	for _, name := range slices.Sorted(maps.Keys(r)) {
		s := r[name]
		fmt.Fprintf(w, "SF:%s\n", name)

		for _, f := range slices.Sorted(maps.Keys(s.functions)) {
			fmt.Fprintf(w, "FN:%d,%s\n", s.functions[f], f)
		}
		hit := 0
		for _, f := range slices.Sorted(maps.Keys(s.functions)) {
			fmt.Fprintf(w, "FNDA:%d,%s\n", s.calls[f], f)
			if s.calls[f] > 0 {
				hit++
			}
		}
		if len(s.functions) > 0 {
			fmt.Fprintf(w, "FNF:%d\nFNH:%d\n", len(s.functions), hit)
		}

		hit = 0
		branches := slices.SortedFunc(maps.Keys(s.branches), func(a, b branch) int {
			if a.line != b.line {
				return a.line - b.line
			}
			return strings.Compare(a.block+","+a.outcome, b.block+","+b.outcome)
		})
		for _, b := range branches {
			count := "-"
			if t := s.branches[b]; t.known {
				count = strconv.FormatUint(t.count, 10)
				if t.count > 0 {
					hit++
				}
			}
			fmt.Fprintf(w, "BRDA:%d,%s,%s,%s\n", b.line, b.block, b.outcome, count)
		}
		if len(branches) > 0 {
			fmt.Fprintf(w, "BRF:%d\nBRH:%d\n", len(branches), hit)
		}

		hit = 0
		for _, line := range slices.Sorted(maps.Keys(s.lines)) {
			fmt.Fprintf(w, "DA:%d,%d\n", line, s.lines[line])
			if s.lines[line] > 0 {
				hit++
			}
		}
		fmt.Fprintf(w, "LH:%d\nLF:%d\nend_of_record\n", hit, len(s.lines))
	}
}
