//go:build linux

package differential

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Difference is that between two snapshots in one map or program.
type Difference struct {
	// Of is the name of the map or the program.
	Of string
	// Text describes it, in one line or more.
	Text string
}

// Compare returns the differences between what libbpf has made of an object and what the
// loader has, in the order of their names.
func Compare(libbpf, ours *Snapshot) []Difference {
	same := sameInstruction
	if libbpf.arena && ours.arena {
		same = sameInArena
	}
	out := compareEntries(libbpf.maps, ours.maps, same)
	out = append(out, compareEntries(libbpf.programs, ours.programs, same)...)
	slices.SortStableFunc(out, func(a, b Difference) int { return strings.Compare(a.Of, b.Of) })
	return out
}

func compareEntries(libbpf, ours map[string]entry, same comparison) []Difference {
	var out []Difference
	for name, want := range libbpf {
		got, ok := ours[name]
		if !ok {
			out = append(out, Difference{name, "only libbpf makes it"})
			continue
		}
		if text := compareEntry(want, got, same); text != "" {
			out = append(out, Difference{name, text})
		}
	}
	for name := range maps.Keys(ours) {
		if _, ok := libbpf[name]; !ok {
			out = append(out, Difference{name, "libbpf does not make it"})
		}
	}
	return out
}

func compareEntry(want, got entry, same comparison) string {
	var texts []string
	for i, w := range want.facts {
		if g := got.facts[i]; g.value != w.value {
			texts = append(texts, fmt.Sprintf("%s: %s", w.name, firstLine(w.value, g.value)))
		}
	}
	if text := compareCode(want.code, got.code, same); text != "" {
		texts = append(texts, text)
	}
	return strings.Join(texts, "\n")
}

// firstLine returns how two texts differ, of long ones the first line that does.
func firstLine(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := 0; i < len(w) && i < len(g); i++ {
		if w[i] != g[i] {
			return fmt.Sprintf("libbpf has %q, we %q", short(w[i]), short(g[i]))
		}
	}
	return fmt.Sprintf("libbpf has %d lines, we %d", len(w), len(g))
}

func short(s string) string {
	if len(s) > 200 {
		return s[:200] + "..."
	}
	return s
}

func compareCode(want, got []instruction, same comparison) string {
	for i := 0; i < len(want) && i < len(got); i++ {
		if !same(want[i], got[i]) {
			return fmt.Sprintf("instruction %d: libbpf has %v, we %v", i, want[i], got[i])
		}
	}
	if len(want) != len(got) {
		return fmt.Sprintf("libbpf has %d instructions, we %d", len(want), len(got))
	}
	return ""
}

type comparison func(a, b instruction) bool

// sameInstruction reports whether two instructions are the same, where each may refer to
// memory of its own: what the kernel has allocated for one program is at another address
// for the next.
func sameInstruction(a, b instruction) bool {
	if a == b {
		return true
	}
	if a.code != load64 || !allocated(a.immediate) || !allocated(b.immediate) {
		return false
	}
	a.immediate = b.immediate
	return a == b
}

// allocated reports whether a number is an address in the kernel's half, which are 56 bits
// where pages have five levels, as on the CPU that QEMU makes up. It is not in the last
// 2 GiB, where x86 has the symbols and immediates of 32 bits end when they are negative.
func allocated(v int64) bool { return v < -1<<31 && v >= -1<<56 }

// sameInArena is sameInstruction for code that refers to variables in an arena: where an
// arena is, and on which of its pages they are, is up to the loader.
func sameInArena(a, b instruction) bool {
	const page, fourGiB = 4096, 1 << 32
	if a.code == load64 && a.immediate >= fourGiB && b.immediate >= fourGiB &&
		a.immediate%page == b.immediate%page {
		a.immediate = b.immediate
	}
	return sameInstruction(a, b)
}
