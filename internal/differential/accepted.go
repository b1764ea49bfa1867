//go:build linux

package differential

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Accepted are the differences that have a reason.
type Accepted struct {
	lines map[place]*acceptedLine
	// release is that of the kernel.
	release string
}

type place struct{ object, of string }

type acceptedLine struct {
	number int
	// own is true when the line is for this kernel alone.
	own bool
	// found is true when the difference is there.
	found bool
}

// ParseAccepted reads a file of lines "object program reason", or "object map reason", for
// the kernel of a release, as uname -r has it. A line that begins with "[5.10] " is for
// kernels of that version alone. Lines that begin with # are comments.
func ParseAccepted(text, release string) (*Accepted, error) {
	a := &Accepted{lines: make(map[place]*acceptedLine), release: release}
	number := 0
	for line := range strings.Lines(text) {
		number++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		own := strings.HasPrefix(fields[0], "[")
		if own {
			version, closed := strings.CutSuffix(fields[0][1:], "]")
			if !isVersion(version) || !closed {
				return nil, fmt.Errorf("line %d: want a kernel such as [5.10], and not %s", number, fields[0])
			}
			if !isRelease(release, version) {
				continue
			}
			fields = fields[1:]
		}
		if len(fields) < 3 {
			return nil, fmt.Errorf("line %d: want an object, a program or a map, and a reason", number)
		}
		p := place{fields[0], fields[1]}
		if a.lines[p] != nil {
			return nil, fmt.Errorf("line %d: %s %s has a line already", number, p.object, p.of)
		}
		a.lines[p] = &acceptedLine{number: number, own: own}
	}
	return a, nil
}

// isVersion reports whether a text is a kernel's version without the last number.
func isVersion(text string) bool {
	var major, minor uint
	n, err := fmt.Sscanf(text, "%d.%d", &major, &minor)
	return err == nil && n == 2 && text == fmt.Sprintf("%d.%d", major, minor)
}

// isRelease reports whether a release is of a version: 5.10.0-28-amd64 of 5.10.
func isRelease(release, version string) bool {
	rest, ok := strings.CutPrefix(release, version)
	return ok && (rest == "" || rest[0] < '0' || rest[0] > '9')
}

// Take notes the differences of an object, and returns those that have no line.
func (a *Accepted) Take(object string, differences []Difference) []Difference {
	var rest []Difference
	for _, d := range differences {
		if line := a.lines[place{object, d.Of}]; line != nil {
			line.found = true
			continue
		}
		rest = append(rest, d)
	}
	return rest
}

// Stale returns the lines of the given objects whose differences were not found, each as
// "line 3: OBJECT PROGRAM". On kernels before 6.2, which cannot load all that lines for any
// kernel are about, these do not count.
func (a *Accepted) Stale(objects []string) []string {
	old := strings.HasPrefix(a.release, "4.") || strings.HasPrefix(a.release, "5.") ||
		isRelease(a.release, "6.0") || isRelease(a.release, "6.1")
	var out []string
	for _, p := range slices.SortedFunc(maps.Keys(a.lines), func(p, q place) int { return a.lines[p].number - a.lines[q].number }) {
		line := a.lines[p]
		if !line.found && slices.Contains(objects, p.object) && (line.own || !old) {
			out = append(out, fmt.Sprintf("line %d: %s %s", line.number, p.object, p.of))
		}
	}
	return out
}
