package skeleton

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/runtime/internal/attach"
	"github.com/rules-bpf/rules_bpf/runtime/internal/undo"
	"github.com/rules-bpf/rules_bpf/runtime/internal/usdt"
)

// attacher attaches p to target, the part of the section's name after the first slash.
type attacher func(p *BaseProgram, prog *attach.Program, target string) (link.Link, error)

// attachers are what attaches programs automatically.
var attachers = map[secdef.Auto]attacher{
	secdef.AutoKprobe: taking(func(prog *attach.Program, target string, o *KprobeOptions) (link.Link, error) {
		return attach.Kprobe(prog, target, o.probe())
	}),
	secdef.AutoKprobeMulti: taking(func(prog *attach.Program, target string, o *KprobeMultiOptions) (link.Link, error) {
		return attach.KprobeMulti(prog, target, attach.KprobeMultiOptions(valueOf(o)))
	}),
	secdef.AutoSyscall: taking(func(prog *attach.Program, target string, o *SyscallOptions) (link.Link, error) {
		return attach.Syscall(prog, target, o.probe())
	}),
	secdef.AutoUprobe: taking(func(prog *attach.Program, target string, o *UprobeOptions) (link.Link, error) {
		path, function, err := attach.SplitUser(target)
		if err != nil {
			return nil, err
		}
		return attach.Uprobe(prog, path, function, o.probe())
	}),
	secdef.AutoUprobeMulti: taking(func(prog *attach.Program, target string, o *UprobeMultiOptions) (link.Link, error) {
		path, pattern, err := attach.SplitUser(target)
		if err != nil {
			return nil, err
		}
		return attach.UprobeMulti(prog, path, pattern, attach.UprobeMultiOptions(valueOf(o)))
	}),
	secdef.AutoUSDT: attachUSDT,
	secdef.AutoTracepoint: taking(func(prog *attach.Program, target string, o *TracepointOptions) (link.Link, error) {
		category, name, _ := strings.Cut(target, "/")
		return attach.Tracepoint(prog, category, name, valueOf(o).Cookie)
	}),
	secdef.AutoRawTracepoint: taking(func(prog *attach.Program, target string, o *RawTracepointOptions) (link.Link, error) {
		return attach.RawTracepoint(prog, target, valueOf(o).Cookie)
	}),
	secdef.AutoTracing: taking(attachTracing),
	secdef.AutoLSM:     taking(attachTracing),
	secdef.AutoFreplace: func(_ *BaseProgram, prog *attach.Program, _ string) (link.Link, error) {
		return attach.Freplace(prog, nil, "")
	},
	secdef.AutoIter: taking(func(prog *attach.Program, _ string, o *IterOptions) (link.Link, error) {
		return attach.Iter(prog, o.iter())
	}),
}

// taking makes an attacher of a function that takes the options of SetAttachOptions.
func taking[O any](connect func(prog *attach.Program, target string, o *O) (link.Link, error)) attacher {
	return func(p *BaseProgram, prog *attach.Program, target string) (link.Link, error) {
		o, err := optionsOf[O](p)
		if err != nil {
			return nil, err
		}
		return connect(prog, target, o)
	}
}

// optionsOf returns the options that Attach is to use for a program, nil when there are none.
// It refuses those of another kind, which the program's handle of that kind was given.
func optionsOf[O any](p *BaseProgram) (*O, error) {
	own, ok := p.options.(*O)
	if !ok && p.options != nil {
		return nil, fmt.Errorf("SetAttachOptions was given %T, and its section takes %T: call it on the handle in the skeleton's Progs", p.options, own)
	}
	return own, nil
}

// attachTracing needs no target: it was passed to the kernel with the program.
func attachTracing(prog *attach.Program, _ string, o *TracingOptions) (link.Link, error) {
	return attach.Tracing(prog, valueOf(o).Cookie)
}

func attachUSDT(p *BaseProgram, prog *attach.Program, target string) (link.Link, error) {
	o, err := optionsOf[USDTOptions](p)
	if err != nil {
		return nil, err
	}
	path, provider, name, err := attach.SplitUSDT(target)
	if err != nil {
		return nil, err
	}
	return p.usdt(prog, path, provider, name, valueOf(o))
}

// usdt attaches the program to a USDT.
func (p *BaseProgram) usdt(prog *attach.Program, path, provider, name string, o USDTOptions) (link.Link, error) {
	l, unreadable, err := attach.USDT(prog, path, provider, name, o.PID, o.Cookie, p.owner.usdts())
	p.unreadable = append(p.unreadable, unreadable...)
	return l, err
}

// usdts returns what the programs on USDTs have in common, nil when the object has no maps for
// them.
func (o *object) usdts() *attach.USDTs {
	specs, ips := o.mapNamed(usdt.SpecMap), o.mapNamed(usdt.IPMap)
	if specs == nil || ips == nil {
		return nil
	}
	return &attach.USDTs{
		Specs: specs.Map(),
		IPs:   ips.Map(),
		IDs:   &o.usdtIDs,
		SpecType: func() (btf.Type, error) {
			types, err := o.types()
			if err != nil {
				return nil, fmt.Errorf("types of the object: %w", err)
			}
			typ, err := typeOf(types, specs.decl.ValueType)
			if err != nil {
				return nil, fmt.Errorf("map %s: %w", usdt.SpecMap, err)
			}
			return typ, nil
		},
		Forget: func(ip uint64) error {
			m, err := ips.begin()
			if errors.Is(err, ErrClosed) {
				return nil
			}
			if err != nil {
				return err
			}
			defer ips.end()
			return m.Delete(ip)
		},
	}
}

// mapNamed returns the object's map, nil if there is none.
func (o *object) mapNamed(name string) *UntypedMap {
	for _, m := range o.maps {
		if m.name == name {
			return m
		}
	}
	return nil
}

// leftOut returns why Attach leaves the loaded program alone, "" when it attaches it.
func (p *BaseProgram) leftOut() string {
	if !p.autoattach {
		return autoattachOff
	}
	form, target := p.form()
	if form == nil {
		return "SEC() does not say how it is attached: attach it with a function of package link, and put the link into the slot"
	}
	if form.Is(secdef.AttachBTF) {
		// SetTarget may have set it before Load.
		target = p.def.AttachTo
	}
	if p.options != nil && slices.Contains(form.Parameters, target) {
		return ""
	}
	return form.LeftOut(target)
}

// attachAuto attaches a program that is not left out, by its section name.
func (p *BaseProgram) attachAuto() (link.Link, error) {
	form, target := p.form()
	// The section names the target, or the options do.
	hook := attach.By("auto")
	if form.Auto == secdef.AutoIter {
		hook = attach.Hook{}
	}
	l, err := attach.Connect(&p.further, p.connectable(), hook, func(prog *attach.Program) (link.Link, error) {
		return attachers[form.Auto](p, prog, target)
	})
	return l, attach.Explain(err, p.def.Type)
}

// attachAll attaches the programs by their sections. done gets what undoes it, on error
// too. When targets are missing, the error lists all of them.
func attachAll(progs []*BaseProgram, done *undo.Stack) error {
	for i, p := range progs {
		l, err := p.attachAuto()
		if err == nil {
			*p.link = l
			done.Push(func() error { return undoSlot(p.link) })
			continue
		}
		_, target := p.form()
		errs := []error{p.targetError(target, err)}
		if missingTarget(errs[0]) != nil {
			for _, err := range findTargets(progs[i+1:]) {
				if missingTarget(err) != nil {
					errs = append(errs, err)
				}
			}
		}
		return errors.Join(errs...)
	}
	return nil
}
