package inspect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/rules-bpf/rules_bpf/internal/quote"
)

// JSON returns the report for programs, indented.
func (r *Report) JSON() ([]byte, error) {
	data, err := json.MarshalIndent(r, "", "  ")
	return append(data, '\n'), err
}

// Text returns the report for people: tables, of which empty ones are left out.
func (r *Report) Text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s: %s, license %q\n", quote.Text(r.Name), r.ByteOrder, r.License)
	table := func(head string, rows int, row func(i int) []string) {
		if rows > 0 {
			b.WriteByte('\n')
			writeTable(&b, head, rows, row)
		}
	}
	table("PROGRAM\tSEC\tTYPE\tINSNS\tCO-RE\tLOADED\tATTACHED", len(r.Programs), func(i int) []string {
		p := r.Programs[i]
		return []string{p.Name, p.Section, p.Type, fmt.Sprint(p.Instructions), fmt.Sprint(len(p.CORE)), choose(p.Autoload, "yes", "on request"), choose(p.Autoattach, "by Attach", "by hand")}
	})
	table("FUNCTION\tTYPE", len(r.Functions), func(i int) []string {
		f := r.Functions[i]
		return []string{f.Name, choose(f.Type == "", "-", f.Type)}
	})
	table("MAP\tTYPE\tKEY\tVALUE\tENTRIES\tFLAGS", len(r.Maps), func(i int) []string {
		m := r.Maps[i]
		return []string{m.Name, strings.TrimPrefix(m.Type, "BPF_MAP_TYPE_"), sized(m.Key, m.KeySize), sized(m.Value, m.ValueSize), fmt.Sprint(m.MaxEntries), fmt.Sprintf("%#x", m.Flags)}
	})
	table("VARIABLE\tSECTION\tOFFSET\tSIZE\tTYPE\tVALUE", len(r.Variables), func(i int) []string {
		v := r.Variables[i]
		return []string{v.Name, v.Section, fmt.Sprint(v.Offset), fmt.Sprint(v.Size), v.Type, shorten(v.Value)}
	})
	table("STRUCT_OPS\tSECTION\tTYPE\tSIZE\tPROGRAMS", len(r.StructOps), func(i int) []string {
		o := r.StructOps[i]
		var members []string
		for _, m := range o.Members {
			members = append(members, m.Name+"="+m.Program)
		}
		return []string{o.Name, o.Section, o.Type, fmt.Sprint(o.Size), choose(members == nil, "-", strings.Join(members, " "))}
	})
	table("EXTERN\tKIND\tWEAK", len(r.Externs), func(i int) []string {
		e := r.Externs[i]
		return []string{e.Name, e.Kind, choose(e.Weak, "yes", "no")}
	})
	table("KCONFIG\tSIZE\tWEAK", len(r.Kconfig), func(i int) []string {
		k := r.Kconfig[i]
		return []string{k.Name, fmt.Sprint(k.Size), choose(k.Weak, "yes", "no")}
	})
	r.typesTable(table)
	table("SOURCE\tFUNCTIONS\tINSNS", len(r.Sources), func(i int) []string {
		s := r.Sources[i]
		return []string{s.File, fmt.Sprint(len(s.Functions)), fmt.Sprint(s.Instructions)}
	})
	table("NEEDS\tKERNEL\tRULE", len(r.Needs), func(i int) []string {
		n := r.Needs[i]
		return []string{n.What, n.Since, n.Rule}
	})
	b.WriteByte('\n')
	switch {
	case r.Unknown && r.Kernel != "":
		fmt.Fprintf(&b, "Linux %s or newer: some needs are unknown.\n", r.Kernel)
	case r.Unknown:
		b.WriteString("The first version of Linux is unknown.\n")
	case r.Kernel != "":
		fmt.Fprintf(&b, "Linux %s or newer.\n", r.Kernel)
	}
	fmt.Fprintf(&b, "To load it from 5.8 on: %s; before, CAP_SYS_ADMIN.\n", strings.Join(r.Capabilities, ", "))
	return b.Bytes()
}

// writeTable writes a table, nothing when it has no rows.
func writeTable(b *bytes.Buffer, head string, rows int, row func(i int) []string) {
	if rows == 0 {
		return
	}
	w := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, head)
	for i := range rows {
		cells := row(i)
		for j := range cells {
			cells[j] = quote.Text(cells[j])
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	w.Flush()
}

// typesTable writes a row for each member of a type and each constant of an enum.
func (r *Report) typesTable(table func(head string, rows int, row func(i int) []string)) {
	var rows [][]string
	add := func(t *Type, first bool, name, where, typ string) {
		if first {
			rows = append(rows, []string{t.Name, fmt.Sprint(t.Size), name, where, typ})
		} else {
			rows = append(rows, []string{"", "", name, where, typ})
		}
	}
	for i := range r.Types {
		t := &r.Types[i]
		for j, m := range t.Members {
			add(t, j == 0, m.Name, m.position(), m.Type)
		}
		for j, c := range t.Constants {
			add(t, j == 0, c.Name, "", fmt.Sprintf("= %d", c.Value))
		}
	}
	table("TYPE\tSIZE\tMEMBER\tOFFSET\tMEMBER'S TYPE", len(rows), func(i int) []string { return rows[i] })
}

// position returns where a member is: in bytes, or in bits for a bit-field.
func (m *Member) position() string {
	if m.Bits != 0 || m.Offset%8 != 0 {
		return fmt.Sprintf("bit %d, %d wide", m.Offset, m.Bits)
	}
	return fmt.Sprint(m.Offset / 8)
}

func choose(cond bool, yes, no string) string {
	if cond {
		return yes
	}
	return no
}

func sized(name string, size uint32) string {
	switch {
	case name == "" && size == 0:
		return "-"
	case name == "":
		return fmt.Sprintf("%d bytes", size)
	}
	return fmt.Sprintf("%s (%d)", name, size)
}
