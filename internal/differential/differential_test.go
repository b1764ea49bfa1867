//go:build linux

package differential

import (
	"slices"
	"strings"
	"testing"
)

func snapshot(code ...instruction) *Snapshot {
	return &Snapshot{
		maps:     map[string]entry{".bss": {facts: []fact{{"flags", "0x400"}}}},
		programs: map[string]entry{"count": {facts: []fact{{"lines", "0: a\n1: b\n"}}, code: code}},
	}
}

func TestCompare(t *testing.T) {
	const kernel = -0x7777_8000_0000
	load := instruction{code: load64, registers: 1, immediate: kernel}
	want := snapshot(load)

	// With four levels of pages, and with five.
	for _, address := range []int64{kernel + 64, -0x00ca_0ba0_bc55_39e8} {
		same := snapshot(load)
		same.programs["count"].code[0].immediate = address
		if got := Compare(want, same); len(got) != 0 {
			t.Errorf("other memory of the kernel's is a difference: %v", got)
		}
	}
	for name, change := range map[string]func(*Snapshot){
		".bss": func(s *Snapshot) { s.maps[".bss"].facts[0].value = "0" },
		"count": func(s *Snapshot) {
			s.programs["count"].code[0].immediate = -1
		},
		"sum": func(s *Snapshot) { s.programs["sum"] = entry{} },
	} {
		ours := snapshot(load)
		change(ours)
		if got := Compare(want, ours); len(got) != 1 || got[0].Of != name {
			t.Errorf("the differences are %v, want one in %s", got, name)
		}
	}
	const arena = 0x1000_0000_0010
	one, other := snapshot(instruction{code: load64, immediate: arena}), snapshot(instruction{code: load64, immediate: arena + 4096})
	if got := Compare(one, other); len(got) != 1 {
		t.Errorf("the differences are %v, want one", got)
	}
	one.arena, other.arena = true, true
	if got := Compare(one, other); len(got) != 0 {
		t.Errorf("another page of an arena is a difference: %v", got)
	}
	shorter := snapshot()
	shorter.programs["count"].facts[0].value = "0: a\n"
	if got := Compare(want, shorter); len(got) != 1 {
		t.Errorf("the differences are %v, want one", got)
	}
}

func TestInstructions(t *testing.T) {
	taking := &taking{mapNames: map[uint32]string{7: ".bss"}}
	got := taking.instructions([]byte{
		load64, 0x21, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0,
		load64, 0x01, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 0, 0, 0,
		0xb7, 0x01, 0, 0, 0xff, 0xff, 0xff, 0xff,
	})
	want := []instruction{
		{load64, 0x21, 0, 16, ".bss"},
		{load64, 0x01, 0, 0x1_ffff_ffff, ""},
		{0xb7, 0x01, 0, -1, ""},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAccepted(t *testing.T) {
	text := `# Of programs.
a.bpf.o count it counts

a.bpf.o sum it adds
b.bpf.o * not here
[5.10] a.bpf.o send has types
[5.10] a.bpf.o take has types
[6.1] a.bpf.o count has no types
`
	for _, c := range []struct {
		release string
		// take has what differs on the kernel.
		take string
		// rest are those without a line, and stale the lines without a difference.
		rest, stale string
	}{
		{"6.12.48+deb13-amd64", "count other", "other", "line 4: a.bpf.o sum"},
		{"6.12.48+deb13-amd64", "count sum send", "send", ""},
		// Its own lines are there, and the others need not be.
		{"5.10.0-28-amd64", "send", "", "line 7: a.bpf.o take"},
		{"5.10", "count send take", "", ""},
		// Another kernel, whose version begins alike.
		{"5.100.1", "count send", "send", ""},
		{"5.1.0", "send", "send", ""},
		{"6.2.0", "", "", "line 2: a.bpf.o count, line 4: a.bpf.o sum"},
	} {
		a, err := ParseAccepted(text, c.release)
		if err != nil {
			t.Fatalf("%s: %v", c.release, err)
		}
		var differences []Difference
		for _, of := range strings.Fields(c.take) {
			differences = append(differences, Difference{of, "differs"})
		}
		var rest []string
		for _, d := range a.Take("a.bpf.o", differences) {
			rest = append(rest, d.Of)
		}
		if got := strings.Join(rest, " "); got != c.rest {
			t.Errorf("%s: without a line are %q, want %q", c.release, got, c.rest)
		}
		if got := strings.Join(a.Stale([]string{"a.bpf.o"}), ", "); got != c.stale {
			t.Errorf("%s: stale are %q, want %q", c.release, got, c.stale)
		}
	}
}

func TestAcceptedErrors(t *testing.T) {
	for text, want := range map[string]string{
		"a.bpf.o count\n":                    "line 1: want an object, a program or a map, and a reason",
		"[6.12] a.bpf.o count\n":             "line 1: want an object, a program or a map, and a reason",
		"a b c\n# more\na b d\n":             "line 3: a b has a line already",
		"a b c\n[6.12] a b d\n":              "line 2: a b has a line already",
		"[6.12 a b c\n":                      "line 1: want a kernel such as [5.10], and not [6.12",
		"[6.x] a b c\n":                      "line 1: want a kernel such as [5.10], and not [6.x]",
		"[ 6.12] a b c\n":                    "line 1: want a kernel such as [5.10], and not [",
		"[6.12.1] for one patch of a kernel": "line 1: want a kernel such as [5.10], and not [6.12.1]",
	} {
		if _, err := ParseAccepted(text, "6.12.1"); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
