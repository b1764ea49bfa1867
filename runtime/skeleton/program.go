package skeleton

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// ProgDesc ties a program of the object to the fields of the skeleton that hold
// its handle and its link. Generated code makes it with [ProgField].
type ProgDesc struct {
	name string
	// open puts a handle on the program into its field.
	open func(*Program)
	link *link.Link
}

// ProgField describes the program called name, whose handle, of one of the
// program types of this package, belongs in *field, and whose link in *slot.
func ProgField[H any, P interface {
	*H
	wrap(*Program) *H
}](name string, field **H, slot *link.Link) ProgDesc {
	return ProgDesc{
		name: name,
		open: func(p *Program) { *field = P(nil).wrap(p) },
		link: slot,
	}
}

// Program is a handle on a program of the object, and the part that the handles
// for programs of a certain kind share.
type Program struct {
	owner *Object
	name  string
	// section is the argument of SEC() in the object.
	section    string
	spec       *ebpf.ProgramSpec
	link       *link.Link
	autoload   bool
	autoattach bool
	// unattached is why the link slot is empty. The owner's mutex guards it.
	unattached string
	loaded     atomic.Pointer[ebpf.Program]
}

func newProgram(owner *Object, desc ProgDesc, spec *ebpf.ProgramSpec) *Program {
	completeSpec(spec)
	return &Program{
		owner:   owner,
		name:    desc.name,
		section: spec.SectionName,
		spec:    spec,
		link:    desc.link,
		// libbpf: a section name that starts with "?" is one not to load by default.
		autoload:   !strings.HasPrefix(spec.SectionName, "?"),
		autoattach: true,
		unattached: notCalled,
	}
}

func (*Program) wrap(p *Program) *Program { return p }

// Handle returns the part of the handle that programs of every kind have.
func (p *Program) Handle() *Program { return p }

// kindAndTarget returns the two parts of the section's name, before and after the
// first slash.
func (p *Program) kindAndTarget() (kind, target string) {
	kind, target, _ = strings.Cut(strings.TrimPrefix(p.spec.SectionName, "?"), "/")
	return kind, target
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

// attach puts the link that connect makes into the program's slot.
func (p *Program) attach(connect func(*ebpf.Program) (link.Link, error)) error {
	p.owner.mu.Lock()
	defer p.owner.mu.Unlock()
	if err := p.attachHere(connect); err != nil {
		return fmt.Errorf("attach program %s, SEC(%q): %w", p.name, p.spec.SectionName, err)
	}
	return nil
}

func (p *Program) attachHere(connect func(*ebpf.Program) (link.Link, error)) error {
	prog := p.Program()
	switch {
	case p.owner.state == closed:
		return ErrClosed
	case p.owner.state == opened:
		return ErrNotLoaded
	case prog == nil:
		return errors.New("was not loaded: call SetAutoload(true) before Load")
	case *p.link != nil:
		return ErrAttached
	}
	l, err := connect(prog)
	if err != nil {
		return err
	}
	*p.link = l
	p.unattached = detached
	return nil
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
