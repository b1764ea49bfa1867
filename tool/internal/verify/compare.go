package verify

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
)

// Comparison is what two reports do not have in common.
type Comparison struct {
	// Changes are in the order of the new report, and what is gone comes last.
	Changes []Difference
}

// Difference is a figure or a verdict that is not the same, or a program that only one of
// the reports has.
type Difference struct {
	// Program names the program, and Kernel the kernel.
	Program, Kernel string
	// What is verdict, the name of a figure, or empty for a program that only one of the
	// reports has.
	What     string
	Old, New string
	// Heavier is true when it takes more than it did, or loads no more.
	Heavier bool
	// percent is by how much.
	percent float64
}

// ignored are figures that are not compared: the time is another one each time.
var ignored = []string{"ns"}

// Compare compares two reports. A figure that has grown by no more than tolerance percent
// counts as equal, and so does one that has become as much less.
func Compare(old, latest *Report, tolerance float64) *Comparison {
	c := &Comparison{}
	before := make(map[key]*Result)
	for i := range old.Results {
		before[old.Results[i].key()] = &old.Results[i]
	}
	for i := range latest.Results {
		res := &latest.Results[i]
		was := before[res.key()]
		delete(before, res.key())
		d := Difference{Program: res.Name(), Kernel: res.In()}
		if was == nil {
			d.Old, d.New, d.Heavier = "-", string(res.Verdict), res.Bad()
			c.Changes = append(c.Changes, d)
			continue
		}
		if was.Verdict != res.Verdict {
			d.What, d.Old, d.New, d.Heavier = "verdict", string(was.Verdict), string(res.Verdict), was.Verdict == Loaded || res.Verdict == Rejected
			c.Changes = append(c.Changes, d)
			continue
		}
		if res.Verdict != Loaded {
			continue
		}
		for _, name := range limited {
			a, b := *was.field(name), *res.field(name)
			percent := 0.0
			switch {
			case a > 0:
				percent = (float64(b) - float64(a)) / float64(a) * 100
			case b > 0:
				percent = 100
			}
			if slices.Contains(ignored, name) || a == b || percent <= tolerance && percent >= -tolerance {
				continue
			}
			d := d
			d.What, d.Old, d.New, d.Heavier, d.percent = name, fmt.Sprint(a), fmt.Sprint(b), b > a, percent
			c.Changes = append(c.Changes, d)
		}
	}
	for i := range old.Results {
		if was := before[old.Results[i].key()]; was != nil {
			c.Changes = append(c.Changes, Difference{Program: was.Name(), Kernel: was.In(), Old: string(was.Verdict), New: "-"})
		}
	}
	return c
}

// Heavier reports whether something takes more, or loads no more.
func (c *Comparison) Heavier() bool {
	return slices.ContainsFunc(c.Changes, func(d Difference) bool { return d.Heavier })
}

// Text returns the differences for people, nothing when there are none.
func (c *Comparison) Text() []byte {
	if len(c.Changes) == 0 {
		return nil
	}
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "PROGRAM\tKERNEL\tWHAT\tOLD\tNEW\tCHANGE")
	for _, d := range c.Changes {
		what, change := d.What, ""
		switch {
		case what == "" && d.Old == "-":
			what, change = "program", "added"
		case what == "":
			what, change = "program", "removed"
		case d.percent != 0:
			change = fmt.Sprintf("%+.1f %%", d.percent)
		}
		if d.Heavier {
			change = strings.TrimSpace(change + " heavier")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", d.Program, strings.TrimPrefix(d.Kernel, "kernel "), what, d.Old, d.New, change)
	}
	w.Flush()
	return b.Bytes()
}
