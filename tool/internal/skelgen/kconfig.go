package skelgen

import (
	"cmp"
	"slices"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/gotype"
)

// kconfigSection is where C has its __kconfig variables.
const kconfigSection = ".kconfig"

// addKconfig declares the struct of the __kconfig variables, as the image lays them out.
func (s *skeleton) addKconfig(obj *bpfobj.Object) []error {
	if s.kconfig == nil {
		return nil
	}
	vars, size := kconfigVariables(obj, s.image)
	return s.types.Section(s.name(s.kconfig.goName), kconfigSection, kconfigDoc, size, vars)
}

const kconfigDoc = "section " + kconfigSection + ": Kconfig options of the running kernel"

// kconfigVariables returns the __kconfig variables as the image lays them out, and what
// they take.
func kconfigVariables(obj *bpfobj.Object, img *image.Object) (vars []gotype.Variable, size uint64) {
	offsets := make(map[string]uint64)
	for _, v := range img.Kconfig {
		offsets[v.Name] = uint64(v.Offset)
	}
	for _, m := range img.Maps {
		if m.Kind == image.KconfigMap {
			size = uint64(m.ValueSize)
		}
	}
	for _, v := range obj.Kconfig {
		vars = append(vars, gotype.Variable{Name: v.Name, Offset: offsets[v.Name], Size: v.Size, Type: v.Type})
	}
	slices.SortStableFunc(vars, func(a, b gotype.Variable) int { return cmp.Compare(a.Offset, b.Offset) })
	return vars, size
}
