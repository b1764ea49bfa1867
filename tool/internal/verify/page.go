package verify

import (
	"bytes"
	_ "embed"
	"fmt"
	"html"
	"slices"
	"strings"
)

//go:embed page.css
var pageStyle string

// Page returns the report as one page for browsers, which needs nothing else: the matrix of
// programs by kernels, coloured by how much of the limits the programs take, with figures
// and log behind each cell.
//
// It is written by hand: package html/template makes each program that has it a third larger,
// and bpfgen starts for every action of a build.
func Page(r *Report) []byte {
	var p page
	p.write(r.matrix())
	return p.Bytes()
}

// page is the page on its way. What comes from a report goes through text, all else is markup.
type page struct{ bytes.Buffer }

// text writes a text between or within tags.
func (p *page) text(text string) { p.WriteString(html.EscapeString(text)) }

// element writes an element with a text, without one that is empty.
func (p *page) element(tag, class, text string) {
	if text == "" {
		return
	}
	p.WriteString("<" + tag)
	if class != "" {
		p.WriteString(` class="` + class + `"`)
	}
	p.WriteString(">")
	p.text(text)
	p.WriteString("</" + tag + ">")
}

func (p *page) write(m *matrix) {
	p.WriteString("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n")
	var objects []string
	for _, o := range m.Objects {
		objects = append(objects, o.Object)
	}
	p.element("title", "", "What the verifier makes of "+strings.Join(objects, ", "))
	p.WriteString("\n<style>\n" + pageStyle + "</style>\n</head>\n<body>\n<h1>What the verifier makes of each program</h1>\n")
	p.legend(m)
	p.WriteString("<div class=\"scroll\">\n<table class=\"matrix\">\n<thead>\n<tr><th scope=\"col\">program</th>")
	for _, k := range m.Kernels {
		p.WriteString(`<th scope="col">`)
		p.text(k.Name)
		p.element("span", "soft", k.CPU)
		p.element("span", "soft", k.Release)
		p.WriteString("</th>")
	}
	p.WriteString("</tr>\n</thead>\n")
	for _, o := range m.Objects {
		p.WriteString(`<tbody>` + "\n" + `<tr class="object"><th scope="rowgroup">`)
		p.text(o.Object)
		p.WriteString("</th>" + strings.Repeat("<th></th>", len(m.Kernels)) + "</tr>\n")
		for _, r := range o.Rows {
			p.row(r)
		}
		p.WriteString("</tbody>\n")
	}
	p.WriteString("</table>\n</div>\n")
	if len(m.Notes) > 0 {
		p.WriteString(`<ul class="notes">`)
		for _, note := range m.Notes {
			p.element("li", "", note)
		}
		p.WriteString("</ul>\n")
	}
	p.WriteString("</body>\n</html>\n")
}

// legend writes how many programs there are of each kind, and what the colours mean.
func (p *page) legend(m *matrix) {
	p.WriteString("<p class=\"legend\">\n")
	for _, c := range m.Counts {
		fmt.Fprintf(p, "<span><b>%d</b> %s</span>\n", c.N, c.Name)
	}
	p.WriteString(`<span class="key">share of the limit:`)
	for i, step := range steps {
		fmt.Fprintf(p, ` <i class="share%d"></i>%d %%`, i, step)
	}
	p.WriteString("</span>\n")
	for _, c := range kinds[1:] {
		fmt.Fprintf(p, "<span class=\"key\"><i class=\"%s\"></i>%s</span>\n", c.Class, c.Name)
	}
	p.WriteString("</p>\n")
}

func (p *page) row(r row) {
	p.WriteString(`<tr><th scope="row">`)
	p.text(r.Program)
	p.element("span", "preset", r.Preset)
	p.element("span", "soft", fmt.Sprintf("SEC(\"%s\")", r.SEC))
	p.WriteString("</th>\n")
	for _, c := range r.Cells {
		if c == nil {
			p.WriteString("<td class=\"cell none\"></td>\n")
			continue
		}
		p.cell(c)
	}
	p.WriteString("</tr>\n")
}

func (p *page) cell(c *cell) {
	p.WriteString(`<td class="cell ` + c.Class + `"><details><summary>`)
	p.text(c.Short)
	if c.Verdict == Loaded {
		p.element("small", "", c.Share)
	}
	p.WriteString("</summary>\n<div class=\"behind\">\n<p>")
	p.element("b", "", string(c.Verdict))
	if c.Reason != "" {
		p.text(": " + c.Reason)
	}
	if c.Source != "" {
		p.text("\nat " + c.Source)
	}
	for _, over := range c.Over {
		p.text("\n" + over)
	}
	if c.MayFail != "" {
		p.text("\nmay fail: " + c.MayFail)
	}
	p.WriteString("</p>\n")
	if len(c.Figures) > 0 {
		p.WriteString("<table>")
		for _, f := range c.Figures {
			p.WriteString("<tr>")
			p.element("td", "", f.Name)
			p.element("td", "number", f.Value)
			if f.Limit != "" {
				p.element("td", "soft", "limit "+f.Limit)
			}
			p.WriteString("</tr>")
		}
		p.WriteString("</table>\n")
	}
	p.element("pre", "", strings.Join(c.Log, "\n"))
	p.WriteString("</div></details></td>\n")
}

// matrix is what the page has.
type matrix struct {
	Kernels []column
	Objects []section
	Notes   []string
	Counts  []count
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
}

type figure struct{ Name, Value, Limit string }

type count struct {
	Class, Name string
	N           int
}

// kinds are what there is of cells. Those that are loaded have a class by their share.
var kinds = []count{
	{"loaded", "loaded", 0}, {"over", "over a limit", 0}, {"rejected", "rejected", 0}, {"mayfail", "may fail, and does", 0},
	{"na", "not applicable", 0}, {"failed", "failed", 0},
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
	counts := slices.Clone(kinds)
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
	c := &cell{Result: r, Share: fmt.Sprintf("%d\u202f%%", share)}
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
