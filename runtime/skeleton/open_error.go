package skeleton

import (
	"debug/elf"
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
)

// explainOpen turns the loader's error into one that says what the user can do.
func explainOpen(desc Desc, err error) error {
	if !errors.Is(err, ebpf.ErrNotSupported) {
		return err
	}
	file, elfErr := elf.NewFile(strings.NewReader(desc.ELF))
	if elfErr != nil {
		return err
	}
	symbols, elfErr := file.Symbols()
	if elfErr != nil {
		return err
	}
	// The loader knows the tables of SEC(".struct_ops.link") only.
	var tables []string
	for _, sym := range symbols {
		if i := int(sym.Section); elf.ST_TYPE(sym.Info) == elf.STT_OBJECT && i < len(file.Sections) && file.Sections[i].Name == ".struct_ops" {
			tables = append(tables, sym.Name)
		}
	}
	if len(tables) == 0 {
		return err
	}
	return fmt.Errorf("%s: in SEC(\".struct_ops\"), which this version of github.com/cilium/ebpf does not load: use SEC(\".struct_ops.link\"), for which the kernel must be 6.4 or newer: %w", strings.Join(tables, ", "), err)
}
