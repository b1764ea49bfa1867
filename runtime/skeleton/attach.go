package skeleton

import (
	"strings"

	"github.com/cilium/ebpf/link"
)

// attachFunc attaches p to target, the part of the section's name after the
// first slash. It returns nil and no error when the section does not give the
// whole target, in which case libbpf leaves the program alone too.
type attachFunc func(p *Program, target string) (link.Link, error)

// attachProgram attaches p as its section name says, and does nothing for
// sections that do not attach automatically.
func attachProgram(p *Program) (link.Link, error) {
	kind, target, _ := strings.Cut(strings.TrimPrefix(p.spec.SectionName, "?"), "/")
	attach := attachers[kind]
	if attach == nil {
		return nil, nil
	}
	return attach(p, target)
}
