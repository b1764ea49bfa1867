package loader

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/core"
	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/runtime/internal/kallsyms"
)

// extern is what the kernel has for an extern of the image.
type extern struct {
	// found is true when the kernel has it. One that it lacks is weak.
	found bool
	// id is that of a function or a variable in the kernel's BTF, or in that of a module.
	id uint32
	// module is the descriptor of the module's BTF, 0 for the kernel's own.
	module int
	// address is that of a KsymAddress.
	address uint64
	// differs is true when the kernel has a function of the name, with another prototype.
	differs bool
}

// externUse is where the code that is loaded refers to an extern first.
type externUse struct {
	used                  bool
	function, instruction uint32
}

// externUses returns where the code that is loaded refers to the externs of the image, with
// the same indices. The kernel need not have the others.
func (l *load) externUses() []externUse {
	img := l.object.Image
	if len(img.Externs) == 0 {
		return nil
	}
	uses := make([]externUse, len(img.Externs))
	for f, loaded := range l.functions {
		if !loaded {
			continue
		}
		from, to := relocationsOf(img, uint32(f))
		for i := from; i < to; i++ {
			r := image.At(img.Relocations, i)
			if r.Kind != image.ExternCall && r.Kind != image.ExternAddress {
				continue
			}
			if !uses[r.Target].used {
				uses[r.Target] = externUse{true, uint32(f), r.Instruction}
			}
		}
	}
	return uses
}

// externNames adds the names of the externs that are looked for in the kernel's BTF.
func (l *load) externNames(names *rawbtf.Names) {
	for i, use := range l.externUses() {
		if e := &l.object.Image.Externs[i]; use.used && e.Kind != image.KsymAddress {
			names.Add(rawbtf.EssentialName(e.Name))
		}
	}
}

// bindExterns finds the externs that the code to be loaded refers to.
func (l *load) bindExterns() error {
	img := l.object.Image
	if len(img.Externs) == 0 {
		return nil
	}
	l.externs = make([]extern, len(img.Externs))
	uses := l.externUses()
	var errs []error
	for i, use := range uses {
		if !use.used || img.Externs[i].Kind == image.KsymAddress {
			continue
		}
		var err error
		if l.externs[i], err = l.findExtern(&img.Externs[i]); err != nil {
			errs = append(errs, l.inFunction(use.function, use.instruction, err))
		}
	}
	errs = append(errs, l.findAddresses(uses)...)
	return errors.Join(errs...)
}

// findExtern finds a function or a variable in the BTF of the kernel or of a module.
func (l *load) findExtern(e *image.Extern) (extern, error) {
	var found extern
	var err error
	if e.Kind == image.Kfunc {
		found, err = l.findKfunc(e)
		if err != nil {
			err = fmt.Errorf("kfunc %s: %w", e.Name, err)
		}
	} else {
		found, err = l.findVariable(e)
		if err != nil {
			err = fmt.Errorf("ksym %s: %w", e.Name, err)
		}
	}
	return found, err
}

// findKfunc finds a function. It has the name without a flavour: several flavours are how a
// program declares the prototypes of several kernels. As in libbpf, a weak one that has another
// prototype in the kernel counts as missing.
func (l *load) findKfunc(e *image.Extern) (extern, error) {
	f, ok, err := l.findType(rawbtf.EssentialName(e.Name), rawbtf.Func)
	if err != nil {
		return extern{}, err
	}
	if !ok {
		if e.Weak {
			return extern{}, nil
		}
		return extern{}, l.withUnreadable(fmt.Errorf("neither the kernel nor one of its modules has it: declare it __weak and ask bpf_ksym_exists, or call SetAutoload(false): %w", ebpf.ErrNotSupported))
	}
	local, err := l.object.localTypes()
	if err != nil {
		return extern{}, err
	}
	if !core.Compatible(local.At(e.Type), f.Elem()) {
		if e.Weak {
			return extern{differs: true}, nil
		}
		return extern{}, errors.New(differs(local.At(e.Type)))
	}
	return l.foundExtern(e, f)
}

// differs returns what to do about a prototype that is not the kernel's.
func differs(proto rawbtf.Type) string {
	const text = "has other parameters or results in the kernel: declare it as the kernel does"
	types := []rawbtf.Type{proto.Elem()}
	for i := range proto.Vlen() {
		types = append(types, proto.In().At(proto.Param(i)))
	}
	for _, t := range types {
		t, _ = t.Skip()
		for n := 0; n < maxTypeDepth && t.Kind() == rawbtf.Ptr; n++ {
			t, _ = t.Elem().Skip()
		}
		// libbpf does not take one for a struct either.
		if t.Kind() == rawbtf.Fwd {
			return fmt.Sprintf("%s, and define %s, an empty one will do, as it is only declared here", text, core.TypeName(t))
		}
	}
	return text
}

// findVariable finds a variable with a type.
func (l *load) findVariable(e *image.Extern) (extern, error) {
	v, ok, err := l.findType(e.Name, rawbtf.Var)
	if err != nil {
		return extern{}, err
	}
	if !ok {
		if e.Weak {
			return extern{}, nil
		}
		return extern{}, l.withUnreadable(fmt.Errorf("no variable in the BTF of this kernel or of its modules: declare it __weak and look whether its address is zero, or \"extern const void %s __ksym\" to have the address only: %w", e.Name, ebpf.ErrNotSupported))
	}
	local, err := l.object.localTypes()
	if err != nil {
		return extern{}, err
	}
	have, okHave := local.At(e.Type).Skip()
	want, okWant := v.Elem().Skip()
	if !okHave || !okWant || !core.Compatible(have, want) {
		return extern{}, fmt.Errorf("is %s in the kernel, and %s in the object: declare it as the kernel does", core.TypeName(want), core.TypeName(have))
	}
	return l.foundExtern(e, v)
}

// foundExtern returns the extern that a type of the kernel stands for.
func (l *load) foundExtern(e *image.Extern, t rawbtf.Type) (extern, error) {
	fd, err := l.kernel.FD(t.In())
	if e.Weak && errors.Is(err, fs.ErrPermission) {
		// Without the right to open the BTF of modules, they count as having nothing.
		return extern{}, nil
	}
	return extern{found: err == nil, id: t.ID, module: fd}, err
}

// findAddresses finds the addresses of variables without types.
func (l *load) findAddresses(uses []externUse) []error {
	externs := l.object.Image.Externs
	var addresses map[string]uint64
	for i, use := range uses {
		if use.used && externs[i].Kind == image.KsymAddress {
			if addresses == nil {
				addresses = make(map[string]uint64)
			}
			addresses[externs[i].Name] = 0
		}
	}
	if addresses == nil {
		return nil
	}
	hidden := kallsyms.Find(addresses)
	if errors.Is(hidden, kallsyms.ErrAmbiguous) {
		return []error{fmt.Errorf("ksym %w: declare one whose name is there once in %s, or call SetAutoload(false)", hidden, kallsyms.Path)}
	}
	if hidden != nil && !errors.Is(hidden, fs.ErrPermission) {
		return []error{hidden}
	}
	var errs []error
	for i, use := range uses {
		e := &externs[i]
		if !use.used || e.Kind != image.KsymAddress {
			continue
		}
		address, known := addresses[e.Name]
		l.externs[i] = extern{found: known && hidden == nil, address: address}
		if l.externs[i].found || e.Weak {
			continue
		}
		err := hidden
		if !known {
			err = fmt.Errorf("the kernel has no such symbol: declare it __weak and look whether its address is zero: %w", fs.ErrNotExist)
		}
		errs = append(errs, l.inFunction(use.function, use.instruction, fmt.Errorf("ksym %s: %w", e.Name, err)))
	}
	return errs
}
