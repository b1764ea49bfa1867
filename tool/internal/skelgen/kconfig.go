package skelgen

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/gotype"
)

// kconfigSection is where C has its __kconfig variables.
const kconfigSection = ".kconfig"

// kconfig is the struct of the __kconfig variables.
type kconfig struct{ named }

// addKconfig declares the struct of the __kconfig variables, as the image lays them out.
func (s *skeleton) addKconfig(obj *bpfobj.Object) []error {
	if s.kconfig == nil {
		return nil
	}
	offsets := make(map[string]uint64)
	for _, v := range s.image.Kconfig {
		offsets[v.Name] = uint64(v.Offset)
	}
	size := uint64(0)
	for _, m := range s.image.Maps {
		if m.Kind == image.KconfigMap {
			size = uint64(m.ValueSize)
		}
	}
	var vars []gotype.Variable
	for _, v := range obj.Kconfig {
		vars = append(vars, gotype.Variable{Name: v.Name, Offset: offsets[v.Name], Size: v.Size, Type: v.Type})
	}
	slices.SortStableFunc(vars, func(a, b gotype.Variable) int { return cmp.Compare(a.Offset, b.Offset) })
	doc := fmt.Sprintf("section %s: Kconfig options of the running kernel", kconfigSection)
	return s.types.Section(s.kconfig.goName, kconfigSection, doc, size, vars)
}
