package loader

import (
	"fmt"

	"github.com/rules-bpf/rules_bpf/internal/core"
	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/runtime/internal/kernelbtf"
)

// kernelTypes returns the running kernel's BTF.
func (l *load) kernelTypes() (*kernelbtf.Kernel, error) {
	if l.kernel == nil {
		k, err := kernelbtf.Open()
		if err != nil {
			return nil, err
		}
		l.kernel = k
	}
	return l.kernel, nil
}

func (l *load) closeKernel() {
	if l.kernel != nil {
		l.kernel.Close()
		l.kernel = nil
	}
}

// findNames looks for the names of all that this load needs of the kernel's types: a pass
// over these takes longer than all else that is done with them. They are not opened for an
// object that needs nothing of them.
func (l *load) findNames() error {
	names := rawbtf.NewNames()
	l.structOpsNames(names)
	l.targetNames(names)
	l.externNames(names)
	if err := l.coreNames(names); err != nil {
		return err
	}
	l.search(names)
	return nil
}

// search looks for the names in the kernel's types.
func (l *load) search(names *rawbtf.Names) {
	if names.Len() == 0 {
		return
	}
	k, err := l.kernelTypes()
	if err != nil {
		// The steps that need types report the error.
		return
	}
	k.Search(names)
}

// coreNames adds the names of the types that CO-RE relocations are about.
func (l *load) coreNames(names *rawbtf.Names) error {
	if l.opts.KernelTypes != nil || image.Len(l.object.Image.CORE) == 0 {
		return nil
	}
	local, err := l.object.localTypes()
	if err != nil {
		return err
	}
	last := uint32(0)
	l.coreRelocations(func(_ int, r image.CORE, _ uint32) {
		// Most are about the type of the one before.
		if core.Kind(r.Kind) != core.TypeIDLocal && r.Type != last {
			names.Add(rawbtf.EssentialName(local.At(r.Type).Name()))
			last = r.Type
		}
	})
	return nil
}

// findType returns the type of a kind that has exactly the name: the kernel's, or that of
// the first module that has one. It reports false when there is none.
func (l *load) findType(name string, kind rawbtf.Kind) (rawbtf.Type, bool, error) {
	k, err := l.kernelTypes()
	if err != nil {
		return rawbtf.Type{}, false, err
	}
	if t, ok := k.Types().Find(name, kind); ok {
		return t, true, nil
	}
	for _, module := range k.Modules() {
		if t, ok := module.Find(name, kind); ok {
			return t, true, nil
		}
	}
	return rawbtf.Type{}, false, nil
}

// unreadable returns an error when some modules could not be looked at.
func (l *load) unreadable() error {
	if l.kernel == nil {
		return nil
	}
	err := l.kernel.Unreadable()
	if err == nil {
		return nil
	}
	return fmt.Errorf("some modules could not be looked at: %w", err)
}

// withUnreadable adds to an error about something that the kernel lacks that it may be in a
// module that could not be looked at.
func (l *load) withUnreadable(err error) error {
	unreadable := l.unreadable()
	if unreadable == nil {
		return err
	}
	return fmt.Errorf("%w (%w)", err, unreadable)
}
