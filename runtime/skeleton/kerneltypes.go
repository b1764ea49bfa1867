package skeleton

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cilium/ebpf/btf"
)

// kernelType finds the type of kind T that is called name in the BTF of the kernel,
// then in that of its modules. module is the one that has the type, nil for the
// kernel itself; the caller closes it. It fails with [btf.ErrNotFound] when nobody
// has the type.
func kernelType[T btf.Type](name string, cache *btf.Cache) (typ T, spec *btf.Spec, module *btf.Handle, err error) {
	kernel, err := cache.Kernel()
	if err != nil {
		return typ, nil, nil, fmt.Errorf("BTF of the kernel: %w", err)
	}
	if err = kernel.TypeByName(name, &typ); !errors.Is(err, btf.ErrNotFound) {
		return typ, kernel, nil, err
	}
	// The cache has a list of modules too, but not those that came after it was made.
	it := new(btf.HandleIterator)
	defer func() { it.Handle.Close() }()
	for it.Next() {
		info, err := it.Handle.Info()
		if err != nil {
			return typ, nil, nil, err
		}
		if !info.IsModule() {
			continue
		}
		spec, err := cache.Module(info.Name)
		if err == nil {
			err = spec.TypeByName(name, &typ)
		}
		if err == nil {
			// The module may have been loaded again since the cache has its types: the
			// numbers that the kernel looks up are those of this handle.
			spec, err = it.Handle.Spec(kernel)
		}
		if err == nil {
			err = spec.TypeByName(name, &typ)
		}
		if errors.Is(err, btf.ErrNotFound) {
			continue
		}
		if err != nil {
			return typ, nil, nil, fmt.Errorf("module %s: %w", info.Name, err)
		}
		return typ, spec, it.Take(), nil
	}
	// Without the right to look at modules, there is nothing in them.
	if err := it.Err(); err != nil && !errors.Is(err, fs.ErrPermission) {
		return typ, nil, nil, err
	}
	return typ, nil, nil, btf.ErrNotFound
}
