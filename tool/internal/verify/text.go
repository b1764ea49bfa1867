package verify

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rules-bpf/rules_bpf/internal/quote"
)

// Text returns the report for people: a table for each kernel, with what is wrong below it.
// Nothing of an object gets to a terminal that cannot be printed.
func (r *Report) Text() []byte {
	var b bytes.Buffer
	for i, k := range r.kernels() {
		if i > 0 {
			b.WriteByte('\n')
		}
		r.writeKernel(&b, k)
	}
	for i, note := range r.Notes {
		if i == 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "note: %s\n", quote.Text(note))
	}
	return b.Bytes()
}

func (r *Report) writeKernel(b *bytes.Buffer, k kernel) {
	var results []*Result
	// Programs stand below their objects, whose names are long.
	const indent = "  "
	width, presets := len("PROGRAM"), 0
	for i := range r.Results {
		if res := &r.Results[i]; res.Kernel == k.name && res.CPU == k.cpu {
			results = append(results, res)
			width, presets = max(width, len(indent)+len(quote.Name(res.Program))), max(presets, len(quote.Text(res.Preset)))
		}
	}
	fmt.Fprintf(b, "kernel %s, %s (%s)\n", quote.Text(k.name), quote.Text(k.cpu), quote.Text(results[0].Release))
	row := func(program, preset string, cells ...string) {
		text := fmt.Sprintf("%-*s", width, program)
		if presets > 0 {
			text += fmt.Sprintf("  %-*s", max(presets, len("PRESET")), preset)
		}
		fmt.Fprintln(b, strings.TrimRight(text+columns(cells), " "))
	}
	row("PROGRAM", "PRESET", "VERDICT", "INSNS", "STATES", "PEAK", "STACK", "JITED", "TIME", "MAPS")
	object := ""
	for _, res := range results {
		if res.Object != object {
			object = res.Object
			fmt.Fprintln(b, quote.Text(object))
		}
		if res.Verdict != Loaded {
			row(indent+quote.Name(res.Program), quote.Text(res.Preset), string(res.Verdict))
			continue
		}
		row(indent+quote.Name(res.Program), quote.Text(res.Preset), string(res.Verdict),
			fmt.Sprint(res.Insns), fmt.Sprint(res.States), fmt.Sprint(res.PeakStates), fmt.Sprint(res.Stack), fmt.Sprint(res.Jited),
			duration(res.NS), size(res.Memory), res.remark())
	}
	writeDetails(b, results)
}

// columns lays out the cells of a row behind its names: the verdict, figures, and a remark.
func columns(cells []string) string {
	widths := []int{0, 9, 7, 6, 6, 7, 9, 9}
	var b strings.Builder
	for i, cell := range cells {
		switch {
		case i == 0:
			fmt.Fprintf(&b, "  %-14s", cell)
		case i < len(widths):
			fmt.Fprintf(&b, "%*s", widths[i], cell)
		case cell != "":
			fmt.Fprintf(&b, "  %s", cell)
		}
	}
	return b.String()
}

// remark returns a word for what is wrong with a program that is loaded.
func (r *Result) remark() string {
	switch {
	case len(r.Over) == 0:
		return ""
	case r.MayFail != "":
		return "over, and may be"
	}
	return "over"
}

// duration is a time for people, of three digits.
func duration(ns uint64) string {
	unit := time.Microsecond
	for limit := time.Millisecond; time.Duration(ns) >= 10*limit && unit < time.Second; limit *= 10 {
		unit *= 10
	}
	if time.Duration(ns) >= time.Millisecond {
		unit *= 10
	}
	return time.Duration(ns).Round(unit).String()
}

// size is a number of bytes for people.
func size(bytes uint64) string {
	const unit = 1024
	if bytes < unit {
		return fmt.Sprint(bytes)
	}
	value, name := float64(bytes)/unit, "K"
	for _, next := range []string{"M", "G", "T"} {
		if value < unit {
			break
		}
		value, name = value/unit, next
	}
	return fmt.Sprintf("%.4g%s", value, name)
}

// shownLog is how many lines of a log the text has. The page and JSON have more.
const shownLog = 12

// writeDetails writes what the rows do not say: once for the presets in which it is the same.
func writeDetails(w io.Writer, results []*Result) {
	type details struct{ object, program, verdict, reason, source, over, mayFail string }
	of := func(r *Result) details {
		return details{r.Object, r.Program, string(r.Verdict), r.Reason, r.Source, strings.Join(r.Over, "\x00"), r.MayFail}
	}
	presets := make(map[details][]string)
	for _, r := range results {
		presets[of(r)] = append(presets[of(r)], r.Preset)
	}
	for _, r := range results {
		if list := presets[of(r)]; list != nil {
			delete(presets, of(r))
			shown := *r
			shown.Preset = strings.Join(list, ", ")
			shown.writeDetails(w)
		}
	}
}

// writeDetails writes what the row does not say.
func (r *Result) writeDetails(w io.Writer) {
	for _, over := range r.Over {
		fmt.Fprintf(w, "\n%s: %s\n", r.Name(), quote.Text(over))
	}
	if r.Verdict != Loaded {
		fmt.Fprintf(w, "\n%s: %s: %s\n", r.Name(), r.Verdict, quote.Text(r.Reason))
		if r.Source != "" {
			fmt.Fprintf(w, "\tat %s\n", quote.Text(r.Source))
		}
	}
	if r.MayFail != "" {
		fmt.Fprintf(w, "\tmay fail: %s\n", quote.Text(r.MayFail))
	}
	if r.Verdict == Rejected {
		for _, line := range r.Log[max(0, len(r.Log)-shownLog):] {
			fmt.Fprintf(w, "\t| %s\n", quote.Text(line))
		}
	}
}
