package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"text/tabwriter"
)

// matrix has what ran in kernels of QEMU's machines, by suite.
type matrix map[suite]map[kernel]*cell

// suite is a test, wherever it ran. Tests of several packages may have one name, and labels
// are different.
type suite struct{ name, label string }

// suiteOf returns the suite with the path, which ends in the name of a test.
func suiteOf(file string) suite {
	// It is in the kernel of the machine that it runs in, which is one of QEMU's.
	file = strings.TrimSuffix(file, "_native")
	return suite{path.Base(file), "//" + path.Dir(file) + ":" + path.Base(file)}
}

// cell counts the cases of a suite in a kernel.
type cell struct {
	passed, failed int
	// skipped are the cases by their reason.
	skipped map[string]int
}

// aggregate is the test whose cases are those of others: TestKernel/LABEL/CASE, with dots in
// the label.
const aggregate = "TestKernel"

// cell returns the cell of a test's case. The kernel of this machine has none.
func (m matrix) cell(test, name string, in kernel) *cell {
	if in == (kernel{}) {
		return &cell{}
	}
	s := suiteOf(test)
	if parts := strings.Split(name, "/"); parts[0] == aggregate {
		if len(parts) < 3 {
			// The case that contains the others does not count.
			return &cell{}
		}
		s = suiteOf(strings.ReplaceAll(parts[1], ".", "/"))
	}
	if m[s] == nil {
		m[s] = map[kernel]*cell{}
	}
	if m[s][in] == nil {
		m[s][in] = &cell{}
	}
	return m[s][in]
}

func (c *cell) skip(reason string) {
	if c.skipped == nil {
		c.skipped = map[string]int{}
	}
	// The name of the test and the file and line come first.
	if i := strings.Index(reason, "needs "); i >= 0 {
		reason = reason[i:]
	}
	reason, _, _ = strings.Cut(strings.TrimSpace(reason), "\n")
	c.skipped[reason]++
}

func (c *cell) String() string {
	if c == nil {
		return "-"
	}
	text := fmt.Sprint(c.passed)
	if c.failed > 0 {
		text += fmt.Sprintf(" %d FAILED", c.failed)
	}
	skipped := 0
	for _, n := range c.skipped {
		skipped += n
	}
	if skipped > 0 {
		text += fmt.Sprintf("+%d", skipped)
	}
	return text
}

// label is the name of the kernel.
func (k kernel) label() string {
	name := fmt.Sprintf("%d.%d", k.number.major, k.number.minor)
	if k.cpu != "x86_64" {
		name += " " + k.cpu
	}
	return name
}

// print prints the table, and what was skipped in it.
func (m matrix) print(w io.Writer) {
	if len(m) == 0 {
		return
	}
	seen := map[kernel]bool{}
	reasons := map[string]map[kernel]int{}
	for _, row := range m {
		for in, c := range row {
			seen[in] = true
			for reason, n := range c.skipped {
				if reasons[reason] == nil {
					reasons[reason] = map[kernel]int{}
				}
				reasons[reason][in] += n
			}
		}
	}
	kernels := slices.SortedFunc(maps.Keys(seen), func(a, b kernel) int {
		// x86_64, which has most of them, comes first.
		return cmp.Or(-cmp.Compare(a.cpu, b.cpu), cmp.Compare(a.number.major, b.number.major), cmp.Compare(a.number.minor, b.number.minor))
	})
	fmt.Fprintln(w, "What ran in which kernel: cases passed, and after the + skipped")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, in := range kernels {
		fmt.Fprintf(table, "\t%s", in.label())
	}
	fmt.Fprintln(table)
	suites := slices.SortedFunc(maps.Keys(m), func(a, b suite) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.label, b.label))
	})
	named := map[string]int{}
	for _, s := range suites {
		named[s.name]++
	}
	for _, s := range suites {
		if named[s.name] > 1 {
			fmt.Fprint(table, s.label)
		} else {
			fmt.Fprint(table, s.name)
		}
		for _, in := range kernels {
			fmt.Fprintf(table, "\t%v", m[s][in])
		}
		fmt.Fprintln(table)
	}
	_ = table.Flush()
	if len(reasons) == 0 {
		return
	}
	fmt.Fprintln(w, "What was skipped in them:")
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		var counts []string
		for _, in := range kernels {
			if n := reasons[reason][in]; n > 0 {
				counts = append(counts, fmt.Sprintf("%s: %d", in.label(), n))
			}
		}
		fmt.Fprintf(w, "  %s (%s)\n", reason, strings.Join(counts, ", "))
	}
}
