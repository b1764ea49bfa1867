package loader

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/btfarchive"
	"github.com/rules-bpf/rules_bpf/internal/core"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// archived returns the running kernel's types from the archive in the options; the kernel has
// none of its own. Kernels of several distributions may have the same release: all that match
// must give the same for all relocations.
func (l *load) archived(local *rawbtf.Types, relos []core.Relocation) (*rawbtf.Types, error) {
	kernels, err := btfarchive.Read(l.opts.KernelArchive)
	if err != nil {
		return nil, fmt.Errorf("KernelArchive: %w", err)
	}
	release, err := sys.KernelRelease()
	if err != nil {
		return nil, fmt.Errorf("KernelArchive: release of the running kernel: %w: give its types with KernelTypes", err)
	}
	machine, err := sys.KernelMachine()
	if err != nil {
		return nil, fmt.Errorf("KernelArchive: architecture of the running kernel: %w: give its types with KernelTypes", err)
	}
	found := btfarchive.Find(kernels, machine, release, l.opts.KernelName)
	if len(found) == 0 {
		where := ""
		if l.opts.KernelName != "" {
			where = " in " + l.opts.KernelName
		}
		return nil, fmt.Errorf("the kernel has no BTF, and none of the %d kernels of KernelArchive is %s for %s%s: add its types to the archive, or give them with KernelTypes", len(kernels), release, machine, where)
	}
	var first *core.Relocator
	var types *rawbtf.Types
	for i, k := range found {
		// Most have the same types.
		if i > 0 && bytes.Equal(k.Types, found[0].Types) {
			continue
		}
		t, err := rawbtf.New(k.Types, nil)
		if err != nil {
			return nil, fmt.Errorf("KernelArchive: %s: %w", k.Name, err)
		}
		r := core.New(local, core.Only(t), relos)
		if i == 0 {
			first, types = r, t
			continue
		}
		for _, relo := range relos {
			if err := core.Same(relo, first, r); err != nil {
				return nil, fmt.Errorf("the kernel has no BTF, and may be any of %s: %s of %s and %s: choose one with KernelName", kernelNames(found), err, found[0].Name, k.Name)
			}
		}
	}
	return types, nil
}

func kernelNames(kernels []btfarchive.Kernel) string {
	var all []string
	for _, k := range kernels {
		all = append(all, k.Name)
	}
	return strings.Join(all, ", ")
}
