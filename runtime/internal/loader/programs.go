package loader

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/internal/uapi"
)

// openPrograms defines the programs as their sections say.
func (o *Object) openPrograms() {
	all := make([]Program, len(o.Image.Programs))
	o.Programs = make([]*Program, len(all))
	for i := range all {
		p, desc := &all[i], &o.Image.Programs[i]
		o.Programs[i] = p
		p.Name, p.Section = desc.Name, desc.Section
		p.KernelVersion = o.Image.KernelVersion
		// As in libbpf: Load leaves out a program whose section begins with "?".
		p.Autoload = !strings.HasPrefix(desc.Section, "?")
		p.object, p.index, p.function = o, i, desc.Function
		p.useSection()
	}
}

// useSection makes the program what its section says. One whose section is the user's own has
// no type. Legacy names, of which loaders used to match only the beginning, are accepted:
// bpfgen makes no image of them unless the user allows it.
func (p *Program) useSection() {
	form, target, ok := secdef.Find(p.Section)
	if !ok {
		legacy, ok := secdef.FindLegacy(p.Section)
		if !ok {
			return
		}
		form = legacy.Form
	}
	p.Type, p.AttachType, p.Flags = ebpf.ProgramType(form.Type), ebpf.AttachType(form.AttachType), form.Flags
	if form.Type != uapi.StructOps {
		// The part of a struct_ops section that libbpf's documentation calls a name has no
		// meaning.
		p.AttachTo = target
	}
}

// selectPrograms decides which programs are loaded: those with Autoload, and of struct_ops
// programs those in maps that are made. It sets l.selected and l.functions.
func (l *load) selectPrograms() error {
	o := l.object
	inTable := make([]bool, len(o.Programs))
	for _, s := range o.StructOps {
		if !s.Autocreate {
			continue
		}
		for _, p := range s.Programs {
			if p != nil && p.object == o {
				inTable[p.index] = true
			}
		}
	}
	l.selected = make([]*Program, 0, len(o.Programs))
	l.functions = make([]bool, len(o.Image.Functions))
	var failed ProgramErrors
	for i, p := range o.Programs {
		load := p.Autoload
		if p.Type == ebpf.StructOps {
			// As in libbpf: a program that no table has cannot be loaded.
			load = inTable[i]
		}
		if !load {
			continue
		}
		if err := p.check(); err != nil {
			failed = append(failed, &ProgramError{Program: p, Err: err})
			continue
		}
		l.selected = append(l.selected, p)
		if p.Instructions == nil {
			use(o.Image, l.functions, p.function)
		}
	}
	if len(failed) > 0 {
		return failed
	}
	return nil
}

// use marks a function and all that it refers to.
func use(img *image.Object, functions []bool, function uint32) {
	if functions[function] {
		return
	}
	functions[function] = true
	from, to := relocationsOf(img, function)
	for i := from; i < to; i++ {
		if r := image.At(img.Relocations, i); r.Kind == image.Call || r.Kind == image.FuncAddress {
			use(img, functions, r.Target)
		}
	}
	if callback := img.Functions[function].ExceptionCallback; callback != image.NoIndex {
		use(img, functions, callback)
	}
}

// check returns an error when the program lacks the type, or the target, that is passed to the
// kernel at load.
func (p *Program) check() error {
	if p.Type == ebpf.UnspecifiedProgram {
		return fmt.Errorf("the section gives the program no type%s: call SetType before Load, or SetAutoload(false)", didYouMean(p.Section))
	}
	given := p.AttachTarget != nil || p.Target != nil
	if p.Type == ebpf.Extension && !given {
		return errors.New("replaces a function of another program: call SetTarget before Load, or SetAutoload(false)")
	}
	if p.Target != nil && p.Target.object != p.object {
		return errors.New("its target is of another object: call SetTarget with the *ebpf.Program that is loaded")
	}
	form, ok := secdef.FindType(p.Type, p.AttachType)
	if ok && form.Is(secdef.AttachBTF) && p.AttachTo == "" {
		return errors.New("SEC() names no target: call SetTarget before Load, or SetAutoload(false)")
	}
	return nil
}

// didYouMean returns the section that a misspelt one is near to, as part of a message.
func didYouMean(section string) string {
	nearest := strings.TrimPrefix(secdef.Nearest(section), "?")
	if nearest == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean SEC(%q)?)", nearest)
}
