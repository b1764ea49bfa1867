package skeleton

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/runtime/internal/attach"
	"github.com/rules-bpf/rules_bpf/runtime/internal/loader"
)

// BaseProgram is a handle on a program of the object, and the part that the handles
// for programs of a certain kind share. A handle is a view of its program: to attach the
// program to a hook that it fits, but that its handle has no method for, make a handle of the
// kind that has one from its BaseProgram.
type BaseProgram struct {
	owner *object
	name  string
	// section is the argument of SEC() in the object.
	section string
	def     *loader.Program
	// link is the slot in the skeleton, which has the first link.
	link       *link.Link
	autoattach bool
	// unpinned is what SetPinLinks(false) has set.
	unpinned bool
	// options are for Attach: those of the handle's SetAttachOptions.
	options any
	// retyped is true when the user chose another type than that of the section.
	retyped bool
	// unreadable are why arguments of USDTs cannot be read. The owner's mutex guards it.
	unreadable []error
	// unattached is why the link slot is empty. The owner's mutex guards it.
	unattached string
	loaded     programPointer
	// calls are those on loaded that are in flight.
	calls calls
	// further are the links that are not in the slot, in the order of attaching.
	further attach.Links
}

func newProgram(owner *object, desc progDesc, def *loader.Program) *BaseProgram {
	return &BaseProgram{
		owner:      owner,
		name:       desc.Name,
		section:    def.Section,
		def:        def,
		link:       desc.Link,
		autoattach: true,
		unattached: notCalled,
	}
}

// Handle returns the part of the handle that programs of every kind have.
func (p *BaseProgram) Handle() *BaseProgram { return p }

// form returns what the program's section says of it, and the target that the section
// names. It is nil when the section is one of the user's own, and when the user chose
// another type.
func (p *BaseProgram) form() (*secdef.Form, string) {
	if p.retyped {
		return nil, ""
	}
	return sectionForm(p.section)
}

// Name returns the program's name, that of its C function.
func (p *BaseProgram) Name() string { return p.name }

// Program returns the program in the kernel, nil before Load and when the
// program was not to be loaded. It belongs to the skeleton: Close closes it, and does
// not wait for calls of its methods, as it does for Test and Run. Clone it to use it
// while another goroutine may call Close, or longer than that.
func (p *BaseProgram) Program() *ebpf.Program { return p.loaded.Load() }

// Test runs the program once in the kernel on in, the input of a program that
// works on packets, and returns its result and what it made of the input
// (BPF_PROG_TEST_RUN). It fails with [ErrNotLoaded] when the program is not
// loaded, and with [ErrClosed] after Close, which waits for it. See
// [ebpf.Program.Test].
func (p *BaseProgram) Test(in []byte) (result uint32, out []byte, err error) {
	prog, err := p.begin()
	if err != nil {
		return 0, nil, err
	}
	defer p.calls.leave()
	result, out, err = prog.Test(in)
	return result, out, p.fail(err)
}

// Run runs the program in the kernel with any input that its type takes, and
// returns its result. It fails as Test does. See [ebpf.Program.Run].
func (p *BaseProgram) Run(opts *ebpf.RunOptions) (uint32, error) {
	prog, err := p.begin()
	if err != nil {
		return 0, err
	}
	defer p.calls.leave()
	result, err := prog.Run(opts)
	return result, p.fail(err)
}

// Links returns the links of the program that have not been closed: the one in its slot, and
// those for further targets in the order of attaching. They belong to the skeleton, whose
// Detach and Close close them.
func (p *BaseProgram) Links() []link.Link {
	p.owner.mu.Lock()
	defer p.owner.mu.Unlock()
	var links []link.Link
	if p.slotInUse() {
		links = append(links, *p.link)
	}
	return append(links, p.further.Open()...)
}

// Slot returns the program's link slot, which is the field of the skeleton's Links and the
// one that subskeletons point to. A link that is put there is the skeleton's: Attach leaves
// it alone, and Detach and Close close it.
func (p *BaseProgram) Slot() *link.Link { return p.link }

// attach returns the link that connect makes to a hook, which becomes one of the program's.
func (p *BaseProgram) attach(hook attach.Hook, connect func(*attach.Program) (link.Link, error)) (link.Link, error) {
	p.owner.mu.Lock()
	defer p.owner.mu.Unlock()
	l, err := p.attachHere(hook, connect)
	if err != nil {
		return nil, fmt.Errorf("attach program %s, SEC(%q): %w", p.name, p.section, err)
	}
	return l, nil
}

func (p *BaseProgram) attachHere(hook attach.Hook, connect func(*attach.Program) (link.Link, error)) (link.Link, error) {
	switch {
	case p.owner.state == closed:
		return nil, ErrClosed
	case p.owner.state < loaded:
		return nil, ErrNotLoaded
	case p.owner.fake:
		return nil, errFake
	case p.Program() == nil:
		return nil, errors.New("was not loaded: call SetAutoload(true) before Load")
	}
	l, err := attach.Connect(&p.further, p.connectable(), hook, connect)
	if err != nil {
		return nil, attach.Explain(err, p.def.Type)
	}
	if p.slotInUse() {
		p.further.Add(l)
	} else {
		*p.link = l
	}
	p.unattached = detached
	return l, nil
}

// connectable returns what package attach is to know of the loaded program.
func (p *BaseProgram) connectable() *attach.Program {
	prog := &attach.Program{
		Program:    p.Program(),
		Object:     p.owner.name,
		Name:       p.name,
		Section:    p.section,
		AttachType: p.def.AttachType,
		OnProgram:  p.def.AttachTarget != nil || p.def.Target != nil,
		Pins:       p.owner.pinsOf(p.unpinned),
	}
	if form, _ := p.form(); form != nil {
		prog.Traits = form.Traits
	}
	return prog
}

// slotInUse reports whether there is a link in the slot that has not been closed.
func (p *BaseProgram) slotInUse() bool { return *p.link != nil && !attach.IsClosed(*p.link) }

// begin returns the program in the kernel, for one system call: Close waits until
// p.calls is left.
func (p *BaseProgram) begin() (*ebpf.Program, error) {
	if !p.calls.enter() {
		return nil, p.fail(ErrClosed)
	}
	if prog := p.loaded.Load(); prog != nil {
		return prog, nil
	}
	p.calls.leave()
	if p.owner.fake {
		return nil, p.fail(errFake)
	}
	return nil, p.fail(ErrNotLoaded)
}

// fail adds the program's name to an error, nil included.
func (p *BaseProgram) fail(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("program %s: %w", p.name, err)
}
