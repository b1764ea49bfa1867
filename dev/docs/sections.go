package docs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/secdef"
)

// ByHand returns the table of what attaches programs by hand: a row for each way.
func ByHand() string {
	type row struct{ calls, sections string }
	var rows []*row
	names := make(map[*row][]string)
	for _, f := range secdef.Forms() {
		if f.Note != "" {
			continue
		}
		calls := callsOf(f)
		i := slices.IndexFunc(rows, func(r *row) bool { return r.calls == calls })
		if i < 0 {
			i = len(rows)
			rows = append(rows, &row{calls: calls})
		}
		names[rows[i]] = append(names[rows[i]], f.Name())
	}
	var b strings.Builder
	b.WriteString("| section | method of the handle |\n|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s |\n", strings.Join(fold(names[r]), ", "), r.calls)
	}
	return b.String()
}

// fold returns names of sections as Markdown, with one entry for a form and its sleepable
// twin, and one for many of a kind: "cgroup/...".
func fold(names []string) []string {
	kinds := make(map[string]int)
	for _, name := range names {
		if kind, _, ok := strings.Cut(name, "/"); ok {
			kinds[kind]++
		}
	}
	var list []string
	for _, name := range names {
		kind, _, hasSlash := strings.Cut(name, "/")
		entry := "`" + name + "`"
		switch {
		case hasSlash && kinds[kind] > 2:
			entry = "`" + kind + "/...`"
		case strings.HasSuffix(name, ".s") && slices.Contains(names, strings.TrimSuffix(name, ".s")):
			continue
		case slices.Contains(names, name+".s"):
			entry = "`" + name + "[.s]`"
		}
		if !slices.Contains(list, entry) {
			list = append(list, entry)
		}
	}
	return list
}

// callsOf returns the calls that attach programs of a form, as Markdown.
func callsOf(f *secdef.Form) string {
	var calls []string
	for _, c := range f.Calls {
		calls = append(calls, "`"+c.String()+"`")
	}
	text := strings.Join(calls, ", ")
	if f.BeforeLoad {
		text += " before `Load`, then `Attach`"
	}
	return text
}

// Forms returns the table of all forms: a row for each.
func Forms() string {
	var b strings.Builder
	b.WriteString("| section | kernel | program type, attach type | handle | attached |\n|---|---|---|---|---|\n")
	for _, f := range secdef.Forms() {
		name := f.Name()
		if f.TakesTarget() {
			name += "[/...]"
		}
		kernel := f.Since
		if f.CallsSince != "" && newer(f.CallsSince, f.Since) {
			kernel += ", to attach " + f.CallsSince
		}
		if f.Config != "" {
			kernel += ", " + f.Config
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | `%s` | %s |\n", name, kernel, types(f), f.Handle, attached(f))
	}
	return b.String()
}

// types returns what is passed to the kernel for programs of a form.
func types(f *secdef.Form) string {
	text := ebpf.ProgramType(f.Type).String()
	if f.AttachType != 0 {
		// Of those that cilium/ebpf has no name for: "AttachType(57)".
		name := strings.Replace(ebpf.AttachType(f.AttachType).String(), "AttachType(", "attach type (", 1)
		text += ", " + strings.NewReplacer("(", "", ")", "").Replace(name)
	}
	if f.Sleepable() {
		text += ", sleepable"
	}
	return text
}

// attached returns by what programs of a form are attached.
func attached(f *secdef.Form) string {
	switch {
	case f.Note != "":
		return f.Note
	case f.Auto == "":
		return f.ByHand()
	}
	return "Attach, " + f.ByHand()
}

// Insert puts a generated text into a page, between the lines <!-- name --> and
// <!-- end of name -->.
func Insert(page, name, text string) (string, error) {
	first, last := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->\n"
	before, rest, ok := strings.Cut(page, first)
	_, after, ok2 := strings.Cut(rest, last)
	if !ok || !ok2 {
		return "", fmt.Errorf("the page lacks the lines %q and %q", first, last)
	}
	return before + first + text + last + after, nil
}

// newer reports whether version a of the kernel came after b.
func newer(a, b string) bool {
	var version [2][2]int
	for i, s := range []string{a, b} {
		// The table has two numbers everywhere.
		_, _ = fmt.Sscanf(s, "%d.%d", &version[i][0], &version[i][1])
	}
	return slices.Compare(version[0][:], version[1][:]) > 0
}
