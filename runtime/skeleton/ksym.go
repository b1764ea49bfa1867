package skeleton

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// KsymDesc is a variable of the kernel that the object's programs refer to, and
// which has a type in C: "extern const int bpf_prog_active __ksym".
type KsymDesc struct {
	Name string
	// Type is the number of its type in the object's BTF.
	Type uint32
	// Weak says that the address of a variable that the kernel does not have is
	// zero, and no error.
	Weak bool
}

// pseudoBTFID, as the source register of a 64-bit load, makes the constant the BTF
// ID of a variable of the kernel, and the result its address (BPF_PSEUDO_BTF_ID).
const pseudoBTFID = asm.Register(3)

// ksym is what the kernel has for a KsymDesc.
type ksym struct {
	id btf.TypeID
	// module is the module that has the variable, nil for the kernel itself.
	module *btf.Handle
}

// ksyms are the variables of the kernel, by name. One that the kernel does not have
// is nil.
type ksyms map[string]*ksym

// resolveKsyms finds the variables in the BTF of the kernel, then in that of its
// modules. It follows libbpf: a variable must be in BTF, and its type must be
// compatible. Close the result after the programs are loaded.
func resolveKsyms(descs []KsymDesc, object *btf.Spec, cache *btf.Cache) (_ ksyms, err error) {
	if len(descs) == 0 {
		return nil, nil
	}
	found := make(ksyms, len(descs))
	defer func() {
		if err != nil {
			found.Close()
		}
	}()
	for _, d := range descs {
		local, err := object.TypeByID(btf.TypeID(d.Type))
		if err != nil {
			return nil, fmt.Errorf("ksym %s: not in the object: generate the code again: %w", d.Name, err)
		}
		found[d.Name], err = findKsym(d.Name, local, cache)
		if errors.Is(err, btf.ErrNotFound) && d.Weak {
			continue
		}
		if errors.Is(err, btf.ErrNotFound) {
			return nil, fmt.Errorf("ksym %s: no variable in the BTF of this kernel or of its modules: declare it __weak and look whether its address is zero, or \"extern const void %[1]s __ksym\" to have the address only: %w", d.Name, err)
		}
		if err != nil {
			return nil, fmt.Errorf("ksym %s: %w", d.Name, err)
		}
	}
	return found, nil
}

// findKsym fails with [btf.ErrNotFound] when neither the kernel nor a module has the
// variable.
func findKsym(name string, local btf.Type, cache *btf.Cache) (*ksym, error) {
	v, spec, module, err := kernelType[*btf.Var](name, cache)
	if err != nil {
		return nil, err
	}
	id, err := spec.TypeID(v)
	if err == nil {
		if bad := btf.CheckTypeCompatibility(local, v.Type); bad != nil {
			err = fmt.Errorf("is %v in the kernel, and %v in the object: declare it as the kernel does: %w", v.Type, local, bad)
		}
	}
	if err != nil {
		return nil, errors.Join(err, module.Close())
	}
	return &ksym{id, module}, nil
}

// patch makes the instructions load the addresses of the variables.
func (k ksyms) patch(insns asm.Instructions) {
	for i := range insns {
		ins := &insns[i]
		sym, ok := k[ins.Reference()]
		if !ok || !ins.OpCode.IsDWordLoad() || ins.Src != asm.R0 {
			continue
		}
		// A new instruction: on the old one the loader has left a note that it is to
		// look the symbol up.
		load := asm.LoadImm(ins.Dst, 0, asm.DWord).WithSource(ins.Source())
		if name := ins.Symbol(); name != "" {
			load = load.WithSymbol(name)
		}
		if f := btf.FuncMetadata(ins); f != nil {
			load = btf.WithFuncMetadata(load, f)
		}
		if sym != nil {
			load.Src = pseudoBTFID
			load.Constant = int64(sym.id)
			if sym.module != nil {
				load.Constant |= int64(sym.module.FD()) << 32
			}
		}
		*ins = load
	}
}

// Close gives up what the kernel holds for the loads.
func (k ksyms) Close() error {
	var errs []error
	for _, sym := range k {
		if sym != nil && sym.module != nil {
			errs = append(errs, sym.module.Close())
		}
	}
	return errors.Join(errs...)
}
