package verify

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"slices"
	"strings"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// Page returns the report as one page for browsers, which needs nothing else: the matrix of
// programs by kernels, coloured by how much of the limits the programs take, with figures
// and log behind each cell.
func Page(r *Report) ([]byte, error) {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, r.matrix()); err != nil {
		return nil, fmt.Errorf("write the page: %w", err)
	}
	return b.Bytes(), nil
}

// matrix is what the page has.
type matrix struct {
	Kernels []column
	Objects []section
	Notes   []string
	Counts  []count
	Presets bool
}

// column is a kernel.
type column struct{ Name, CPU, Release string }

// section is an object with a row for each program and preset.
type section struct {
	Object string
	Rows   []row
}

type row struct {
	Program, SEC, Preset string
	Cells                []*cell
}

// cell is a program in a kernel. It is nil where a report has none.
type cell struct {
	*Result
	// Class is what the cell looks like, and Share how much of its limits it takes.
	Class, Share string
	// Short is what it says.
	Short   string
	Figures []figure
	Text    string
}

type figure struct{ Name, Value, Limit string }

type count struct {
	Class, Name string
	N           int
}

func (r *Report) matrix() *matrix {
	m := &matrix{Notes: r.Notes}
	kernels := r.kernels()
	for _, k := range kernels {
		c := column{Name: k.name, CPU: k.cpu}
		for i := range r.Results {
			if res := &r.Results[i]; res.Kernel == k.name && res.CPU == k.cpu {
				c.Release = res.Release
			}
		}
		m.Kernels = append(m.Kernels, c)
	}
	counts := []count{
		{"loaded", "loaded", 0}, {"over", "over a limit", 0}, {"rejected", "rejected", 0}, {"mayfail", "may fail, and does", 0},
		{"na", "not applicable", 0}, {"failed", "failed", 0},
	}
	sections, rows := make(map[string]int), make(map[[3]string]int)
	for i := range r.Results {
		res := &r.Results[i]
		at, ok := sections[res.Object]
		if !ok {
			at = len(m.Objects)
			sections[res.Object] = at
			m.Objects = append(m.Objects, section{Object: res.Object})
		}
		s := &m.Objects[at]
		key := [3]string{res.Object, res.Program, res.Preset}
		n, ok := rows[key]
		if !ok {
			n = len(s.Rows)
			rows[key] = n
			s.Rows = append(s.Rows, row{res.Program, res.Section, res.Preset, make([]*cell, len(kernels))})
		}
		m.Presets = m.Presets || res.Preset != ""
		c := newCell(res)
		s.Rows[n].Cells[slices.Index(kernels, kernel{res.Kernel, res.CPU})] = c
		for i := range counts {
			if counts[i].Class == c.Class || counts[i].Class == "loaded" && strings.HasPrefix(c.Class, "share") {
				counts[i].N++
			}
		}
	}
	for _, c := range counts {
		if c.N > 0 {
			m.Counts = append(m.Counts, c)
		}
	}
	return m
}

// steps are shares of a limit in percent, up to which cells have a colour.
var steps = []int{1, 5, 20, 50, 80, 100}

func newCell(r *Result) *cell {
	share := int(r.share() * 100)
	c := &cell{Result: r, Share: fmt.Sprintf("%d\u202f%%", share), Text: strings.Join(r.Log, "\n")}
	if share == 0 {
		c.Share = "<1\u202f%"
	}
	switch {
	case r.MayFail != "":
		c.Class, c.Short = "mayfail", string(r.Verdict)
	case r.Verdict == Rejected:
		c.Class, c.Short = "rejected", "rejected"
	case r.Verdict == NotApplicable:
		c.Class, c.Short = "na", "n/a"
	case r.Verdict == Failed:
		c.Class, c.Short = "failed", "failed"
	case len(r.Over) > 0:
		c.Class, c.Short = "over", grouped(r.Insns)
	default:
		step, _ := slices.BinarySearch(steps, share)
		c.Class, c.Short = fmt.Sprintf("share%d", min(step, len(steps)-1)), grouped(r.Insns)
	}
	if r.Verdict == Loaded || r.Insns > 0 {
		c.Figures = r.figures()
	}
	return c
}

// figures are those of a result with the limits that there are.
func (r *Result) figures() []figure {
	var all []figure
	add := func(label, name, value string) {
		f := figure{Name: label, Value: value}
		if limit, ok := r.Limits[name]; ok {
			f.Limit = grouped(limit)
		} else if name == "insns" && r.InsnsLimit > 0 {
			f.Limit = grouped(r.InsnsLimit)
		}
		all = append(all, f)
	}
	add("instructions processed", "insns", grouped(r.Insns))
	add("states", "states", grouped(r.States))
	add("peak states", "peak_states", grouped(r.PeakStates))
	add("max states per instruction", "max_states_per_insn", grouped(r.MaxStatesPerInsn))
	if r.Verdict == Loaded {
		add("stack, bytes", "stack", grouped(r.Stack))
		add("jited, bytes", "jited", grouped(r.Jited))
	}
	add("verification time", "ns", duration(r.NS))
	if r.Verdict == Loaded {
		add("maps' memory", "memory", size(r.Memory))
	}
	return all
}

// grouped is a number with spaces between thousands, which do not break.
func grouped(n uint64) string {
	digits := fmt.Sprint(n)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteRune('\u202f')
		}
		b.WriteRune(d)
	}
	return b.String()
}
