package skeleton

import (
	"strings"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// ProgDesc ties a program of the object to the fields of the skeleton that hold
// its handle and its link.
type ProgDesc struct {
	// Name is the program's name: the name of its C function.
	Name string
	// Prog is where the handle goes.
	Prog **Program
	// Link is the slot that Attach fills.
	Link *link.Link
}

// Program is a handle on a program of the object.
type Program struct {
	name       string
	spec       *ebpf.ProgramSpec
	link       *link.Link
	autoload   bool
	autoattach bool
	loaded     atomic.Pointer[ebpf.Program]
}

func newProgram(desc ProgDesc, spec *ebpf.ProgramSpec) *Program {
	return &Program{
		name: desc.Name,
		spec: spec,
		link: desc.Link,
		// libbpf: a section name that starts with "?" is one not to load by default.
		autoload:   !strings.HasPrefix(spec.SectionName, "?"),
		autoattach: true,
	}
}

// Name returns the program's name, that of its C function.
func (p *Program) Name() string { return p.name }

// Spec returns the definition from which Load loads the program. Change it
// before Load, for example to set AttachTo or AttachTarget; later changes do
// nothing.
func (p *Program) Spec() *ebpf.ProgramSpec { return p.spec }

// Autoload says whether Load loads the program. It is true unless the section's
// name starts with "?".
func (p *Program) Autoload() bool { return p.autoload }

// SetAutoload sets whether Load loads the program; after Load it does nothing.
func (p *Program) SetAutoload(autoload bool) { p.autoload = autoload }

// Autoattach says whether Attach attaches the program. It is true by default.
func (p *Program) Autoattach() bool { return p.autoattach }

// SetAutoattach sets whether Attach attaches the program.
func (p *Program) SetAutoattach(autoattach bool) { p.autoattach = autoattach }

// Program returns the program in the kernel, nil before Load and when the
// program was not to be loaded. It belongs to the skeleton: Close closes it.
// Clone it to keep it longer.
func (p *Program) Program() *ebpf.Program { return p.loaded.Load() }
