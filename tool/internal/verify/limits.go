package verify

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/secdef"
)

// Limit is what the programs of a name may take.
type Limit struct {
	// Program is a name, in which * and ? stand for letters, with as much of the object's path
	// before it as one likes: edge.bpf.o/xdp_main.
	Program string
	// Figure is the name of a figure in JSON, and Max the most that it may be.
	Figure string
	Max    uint64
}

// ParseLimits reads limits of a program, "insns=200000" each.
func ParseLimits(program string, texts ...string) ([]Limit, error) {
	if err := checkPattern(program); err != nil {
		return nil, err
	}
	var limits []Limit
	for _, text := range texts {
		figure, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, fmt.Errorf("limit %s of program %s: want FIGURE=NUMBER, as in insns=200000", quote.Text(text), quote.Name(program))
		}
		if (&Result{}).field(figure) == nil {
			hint := "one of " + strings.Join(limited, ", ")
			if closest := secdef.Closest(figure, limited...); closest != "" {
				hint = closest + "?"
			}
			return nil, fmt.Errorf("limit %s of program %s: there is no figure %s: %s", quote.Text(text), quote.Name(program), quote.Name(figure), hint)
		}
		most, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("limit %s of program %s: %s is not a number: give one, without a unit", quote.Text(text), quote.Name(program), quote.Text(value))
		}
		limits = append(limits, Limit{program, figure, most})
	}
	return limits, nil
}

// ParseLimit reads PROGRAM=insns=N,stack=M.
func ParseLimit(text string) ([]Limit, error) {
	program, rest, ok := strings.Cut(text, "=")
	if !ok || program == "" {
		return nil, fmt.Errorf("limit %s: want PROGRAM=FIGURE=NUMBER, as in xdp_main=insns=200000,stack=400", quote.Text(text))
	}
	return ParseLimits(program, strings.Split(rest, ",")...)
}

// Exception is a program that need not load, nor keep its limits.
type Exception struct {
	// Program is as in Limit.
	Program, Reason string
}

// ParseException reads "PROGRAM: reason".
func ParseException(text string) (Exception, error) {
	program, reason, ok := strings.Cut(text, ": ")
	reason = strings.TrimSpace(reason)
	if !ok || program == "" || reason == "" {
		return Exception{}, fmt.Errorf("may fail %s: want \"PROGRAM: REASON\": say why it may", quote.Text(text))
	}
	return Exception{program, reason}, checkPattern(program)
}

func checkPattern(pattern string) error {
	if _, err := path.Match(pattern, ""); err != nil {
		return fmt.Errorf("program %s: is not a pattern: give a name, in which * stands for any letters", quote.Text(pattern))
	}
	return nil
}

// matches reports whether a pattern is for a program: its name, with * and ?, and before it as
// much of the object's path as one likes, "edge.bpf.o/xdp_main".
func matches(pattern, object, program string) bool {
	parts := strings.Split(object+"/"+program, "/")
	from := len(parts) - 1 - strings.Count(pattern, "/")
	if from < 0 {
		return false
	}
	ok, _ := path.Match(pattern, strings.Join(parts[from:], "/"))
	return ok
}

// apply compares the results with the limits, and lets those fail that may. It fails for
// names that no program has.
func (o *Options) apply(report *Report) error {
	for _, l := range o.Limits {
		if err := o.programs.check("limit", l.Program); err != nil {
			return err
		}
	}
	for _, e := range o.MayFail {
		if err := o.programs.check("may fail", e.Program); err != nil {
			return err
		}
	}
	needed := make([]bool, len(o.MayFail))
	ran := make([]bool, len(o.MayFail))
	for i := range report.Results {
		r := &report.Results[i]
		r.limit(o.Limits)
		for i, e := range o.MayFail {
			if !matches(e.Program, r.Object, r.Program) {
				continue
			}
			ran[i] = true
			if r.fails() {
				needed[i] = true
				if r.MayFail == "" {
					r.MayFail = e.Reason
				}
			}
		}
	}
	for i, e := range o.MayFail {
		if ran[i] && !needed[i] {
			report.Notes = append(report.Notes, fmt.Sprintf("program %s may fail in kernel %s (%s), and does not: take it out of what may fail", e.Program, o.Kernel, e.Reason))
		}
	}
	return nil
}

// limit compares the figures with the limits. That of a name counts, and not those of
// patterns; of several, the lowest. A program that the kernel has not looked at has no figures.
func (r *Result) limit(limits []Limit) {
	named := make(map[string]bool)
	for _, l := range limits {
		if !matches(l.Program, r.Object, r.Program) {
			continue
		}
		if r.Limits == nil {
			r.Limits = make(map[string]uint64)
		}
		byName := !strings.ContainsAny(l.Program, "*?[")
		old, ok := r.Limits[l.Figure]
		if !ok || byName && !named[l.Figure] || byName == named[l.Figure] && l.Max < old {
			r.Limits[l.Figure], named[l.Figure] = l.Max, byName
		}
	}
	for _, name := range limited {
		limit, ok := r.Limits[name]
		if value := *r.field(name); ok && value > limit {
			r.Over = append(r.Over, fmt.Sprintf("%s is %d, and the limit %d", name, value, limit))
		}
	}
}

// named are the programs of all objects.
type named []struct{ object, program string }

// check fails when a pattern is for no program.
func (n named) check(what, pattern string) error {
	var names []string
	for _, p := range n {
		if matches(pattern, p.object, p.program) {
			return nil
		}
		names = append(names, quote.Name(p.program))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	hint := "the programs are " + strings.Join(names, ", ")
	if len(names) == 0 {
		hint = "they have no programs"
	} else if closest := secdef.Closest(path.Base(pattern), names...); closest != "" && closest != path.Base(pattern) {
		hint = "did you mean " + closest + "?"
	}
	return fmt.Errorf("%s: no program of the objects is called %s: %s", what, quote.Name(pattern), hint)
}
