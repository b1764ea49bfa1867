package skeleton

import (
	"fmt"
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
	name string
	// section is the argument of SEC() in the object.
	section    string
	spec       *ebpf.ProgramSpec
	link       *link.Link
	autoload   bool
	autoattach bool
	loaded     atomic.Pointer[ebpf.Program]
}

func newProgram(desc ProgDesc, spec *ebpf.ProgramSpec) *Program {
	return &Program{
		name:    desc.Name,
		section: spec.SectionName,
		spec:    spec,
		link:    desc.Link,
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
// name starts with "?". It says nothing of a struct_ops program, which is loaded
// when a struct_ops map that is created has it.
func (p *Program) Autoload() bool { return p.autoload }

// SetAutoload sets whether Load loads the program; after Load it does nothing, and
// neither does it for a struct_ops program.
func (p *Program) SetAutoload(autoload bool) { p.autoload = autoload }

// Autoattach says whether Attach attaches the program. It is true by default.
func (p *Program) Autoattach() bool { return p.autoattach }

// SetAutoattach sets whether Attach attaches the program.
func (p *Program) SetAutoattach(autoattach bool) { p.autoattach = autoattach }

// Program returns the program in the kernel, nil before Load and when the
// program was not to be loaded. It belongs to the skeleton: Close closes it.
// Clone it to keep it longer.
func (p *Program) Program() *ebpf.Program { return p.loaded.Load() }

// Test runs the program once in the kernel on in, the input of a program that
// works on packets, and returns its result and what it made of the input
// (BPF_PROG_TEST_RUN). It fails with [ErrNotLoaded] when the program is not
// loaded. See [ebpf.Program.Test].
func (p *Program) Test(in []byte) (result uint32, out []byte, err error) {
	prog, err := p.get()
	if err != nil {
		return 0, nil, err
	}
	result, out, err = prog.Test(in)
	return result, out, p.fail(err)
}

// Run runs the program in the kernel with any input that its type takes, and
// returns its result. See [ebpf.Program.Run].
func (p *Program) Run(opts *ebpf.RunOptions) (uint32, error) {
	prog, err := p.get()
	if err != nil {
		return 0, err
	}
	result, err := prog.Run(opts)
	return result, p.fail(err)
}

func (p *Program) get() (*ebpf.Program, error) {
	if prog := p.loaded.Load(); prog != nil {
		return prog, nil
	}
	return nil, p.fail(ErrNotLoaded)
}

// fail adds the program's name to an error, nil included.
func (p *Program) fail(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("program %s: %w", p.name, err)
}
