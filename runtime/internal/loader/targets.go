package loader

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/runtime/internal/kallsyms"
	"github.com/rules-bpf/rules_bpf/runtime/internal/kernelbtf"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// target is what a program is loaded for.
type target struct {
	// id is attach_btf_id.
	id uint32
	// fd is attach_btf_obj_fd or attach_prog_fd: a descriptor of the BTF of the module or
	// of the program that has the target, 0 for the kernel.
	fd int
	// member is the index of a struct_ops member, which the kernel gets for the attach type.
	member uint32
}

// setTarget notes what a program is loaded for.
func (l *load) setTarget(p *Program, t target) {
	if l.targets == nil {
		l.targets = make([]target, len(l.object.Programs))
	}
	l.targets[p.index] = t
}

// findTargets finds what the struct_ops maps and the programs are for. It fails with all
// that is missing.
func (l *load) findTargets() error {
	return errors.Join(l.prepareStructOps(), l.bindTargets())
}

// MissingTargets looks for the targets of programs and the types of struct_ops maps, in the
// kernel and in programs given as targets. It returns joined errors: those with a
// [*TargetError] say that something is missing. Nothing is loaded.
func (o *Object) MissingTargets() error {
	l := &load{object: o, btf: -1}
	defer l.closeKernel()
	if err := l.selectPrograms(); err != nil {
		return err
	}
	names := rawbtf.NewNames()
	l.structOpsNames(names)
	l.targetNames(names)
	l.search(names)
	return l.findTargets()
}

// Tracepoints sets those of the names to true that are tracepoints of the kernel or a module,
// as its BTF has them.
func Tracepoints(names map[string]bool) error {
	l := &load{btf: -1}
	defer l.closeKernel()
	types := rawbtf.NewNames()
	for name := range names {
		types.Add(tracepointType + name)
	}
	l.search(types)
	for name := range names {
		_, ok, err := l.findType(tracepointType+name, rawbtf.Typedef)
		if err != nil {
			return err
		}
		names[name] = ok
	}
	return l.unreadable()
}

// tracepointType is what the name of the type that a tracepoint has begins with.
const tracepointType = "btf_trace_"

// bindTargets finds what the programs that are loaded are for, except for those that are for a
// program of the same object.
func (l *load) bindTargets() error {
	var failed ProgramErrors
	for _, p := range l.selected {
		t, err := l.findTarget(p)
		switch {
		case err != nil:
			failed = append(failed, &ProgramError{Program: p, Err: err})
		case t != target{}:
			l.setTarget(p, t)
		}
	}
	if len(failed) > 0 {
		return failed
	}
	return nil
}

func (l *load) findTarget(p *Program) (target, error) {
	switch {
	case p.Target != nil || p.Type == ebpf.StructOps:
		return target{}, nil
	case p.AttachTarget != nil:
		return findInProgram(p.AttachTarget, p.AttachTo)
	case p.namesTarget():
		return l.findInKernel(p)
	case p.Type == ebpf.Tracing && strings.Contains(p.AttachTo, ":"):
		// One that is attached to many functions of a module: the kernel wants to know which
		// module.
		module, _, _ := strings.Cut(p.AttachTo, ":")
		fd, err := l.moduleFD(module)
		return target{fd: fd}, err
	}
	return target{}, nil
}

// namesTarget reports whether the program's target is passed to the kernel when the program
// is loaded, and is not in another program.
func (p *Program) namesTarget() bool {
	form, ok := secdef.FindType(p.Type, p.AttachType)
	return ok && form.Is(secdef.AttachBTF) && p.Type != ebpf.Extension
}

// btfTarget returns what stands for the program's target in BTF: a type of the kind, of the
// kernel or, if that is not empty, of a module.
func (p *Program) btfTarget() (kind rawbtf.Kind, module, name string) {
	name = p.AttachTo
	if m, function, ok := strings.Cut(name, ":"); ok {
		module, name = m, function
	}
	switch {
	case p.Type == ebpf.LSM:
		// The kernel has an empty function for every hook.
		return rawbtf.Func, module, "bpf_lsm_" + name
	case p.AttachType == ebpf.AttachTraceRawTp:
		return rawbtf.Typedef, module, tracepointType + name
	case p.AttachType == ebpf.AttachTraceIter:
		return rawbtf.Func, module, "bpf_iter_" + name
	}
	return rawbtf.Func, module, name
}

// targetNames adds the names of the targets.
func (l *load) targetNames(names *rawbtf.Names) {
	for _, p := range l.selected {
		if p.Target == nil && p.AttachTarget == nil && p.namesTarget() {
			_, _, name := p.btfTarget()
			names.Add(rawbtf.EssentialName(name))
		}
	}
}

// findInKernel finds the target of a program in the BTF of the kernel or of a module.
func (l *load) findInKernel(p *Program) (target, error) {
	k, err := l.kernelTypes()
	if err != nil {
		return target{}, err
	}
	kind, module, name := p.btfTarget()
	var t rawbtf.Type
	var ok bool
	switch module {
	case "":
		t, ok, err = l.findType(name, kind)
	case kernelbtf.Vmlinux:
		t, ok = k.Types().Find(name, kind)
	default:
		if m := k.Module(module); m != nil {
			t, ok = m.Types.Find(name, kind)
		}
	}
	if err != nil {
		return target{}, err
	}
	if !ok {
		if err := p.tooNew(sys.KernelVersion()); err != nil {
			return target{}, &TargetError{p.AttachTo, err}
		}
		return target{}, &TargetError{p.AttachTo, l.withUnreadable(p.noTarget())}
	}
	fd, err := k.FD(t.In())
	return target{id: t.ID, fd: fd}, err
}

// moduleFD returns a descriptor of the BTF of a module.
func (l *load) moduleFD(name string) (int, error) {
	k, err := l.kernelTypes()
	if err != nil || name == kernelbtf.Vmlinux {
		return 0, err
	}
	m := k.Module(name)
	if m == nil {
		return 0, &TargetError{name, l.withUnreadable(fmt.Errorf("no module %s is loaded, or it has no BTF: load it, or %w", name, errNoTarget))}
	}
	return k.FD(m.Types)
}

// noTargetError reports that the kernel does not have what a program is to attach to. It is a
// type so that no process makes one when it starts.
type noTargetError struct{}

var errNoTarget error = noTargetError{}

func (noTargetError) Error() string {
	return "name another target in SEC() or with SetTarget, or call SetAutoload(false): " + ebpf.ErrNotSupported.Error()
}

func (noTargetError) Unwrap() error { return ebpf.ErrNotSupported }

// noTarget returns the error for a target that the kernel does not have.
func (p *Program) noTarget() error {
	module, name, ofModule := strings.Cut(p.AttachTo, ":")
	if !ofModule {
		name = p.AttachTo
	}
	switch {
	case p.Type == ebpf.LSM:
		return fmt.Errorf("this kernel has no LSM hook %s, or lacks CONFIG_BPF_LSM: %w", name, errNoTarget)
	case p.AttachType == ebpf.AttachTraceRawTp:
		return fmt.Errorf("this kernel has no tracepoint %s: %w", name, errNoTarget)
	case p.AttachType == ebpf.AttachTraceIter:
		return fmt.Errorf("this kernel has no iterator %s: %w", name, errNoTarget)
	case ofModule:
		return fmt.Errorf("module %s has no function %s in its BTF, or is not loaded: %w", module, name, errNoTarget)
	case kallsyms.HasFunction(name):
		return fmt.Errorf("this kernel has function %s but no BTF for it, as for one that the compiler has changed: attach a kprobe, or %w", name, errNoTarget)
	}
	return fmt.Errorf("this kernel has no function %s, nor has a module that is loaded; it may be inlined: %w", name, errNoTarget)
}

// findInProgram finds the target of a program that is for a function of another one.
func findInProgram(prog *ebpf.Program, name string) (target, error) {
	types, err := kernelbtf.OfProgram(prog.FD())
	if err != nil {
		return target{}, fmt.Errorf("BTF of the target program: %w", err)
	}
	f, ok := types.Find(name, rawbtf.Func)
	if !ok {
		return target{}, noFunction(name)
	}
	return target{id: f.ID, fd: prog.FD()}, nil
}

func noFunction(name string) error {
	return &TargetError{name, fmt.Errorf("the target program has no function %q: change the name given to SetTarget", name)}
}

// bindToLoaded finds the target of a program that is for one of the same object, which is
// loaded by now, with the types of the object.
func (l *load) bindToLoaded(p *Program) error {
	if l.btf < 0 {
		return &ProgramError{Program: p, Err: fmt.Errorf("its target is loaded without types: %w", errNoTypes)}
	}
	for _, f := range l.object.Image.Functions {
		if f.Name == p.AttachTo && f.Type != 0 {
			l.setTarget(p, target{id: f.Type, fd: p.Target.Program.FD()})
			return nil
		}
	}
	return &ProgramError{Program: p, Err: noFunction(p.AttachTo)}
}
