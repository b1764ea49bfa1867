package skelgen

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/ctype"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/gotype"
)

// kconfigSection is where C has its __kconfig variables.
const kconfigSection = ".kconfig"

// kconfig is the struct of the __kconfig variables.
type kconfig struct {
	named
	vars []kconfigVar
}

// kconfigVar is a variable as the runtime describes it.
type kconfigVar struct {
	c            string
	offset, size uint64
	// kind is one of the runtime's constants.
	kind         string
	signed, weak bool
}

// addKconfig declares the struct of the __kconfig variables.
func (s *skeleton) addKconfig(obj *bpfobj.Object) []error {
	if s.kconfig == nil {
		return nil
	}
	layout := s.loaded.Kconfig
	if layout == nil {
		return []error{errors.New("section .kconfig: has no place in the normalised object, which is a defect of bpfgen")}
	}
	var errs []error
	var vars []gotype.Variable
	for _, v := range obj.Kconfig {
		kind, signed, ok := kconfigKind(v.Type)
		if !ok {
			errs = append(errs, kconfigError(v.Name))
			continue
		}
		offset := layout.Offsets[v.Name]
		s.kconfig.vars = append(s.kconfig.vars, kconfigVar{v.Name, offset, v.Size, kind, signed, v.Weak})
		vars = append(vars, gotype.Variable{Name: v.Name, Offset: offset, Size: v.Size, Type: v.Type})
	}
	slices.SortStableFunc(vars, func(a, b gotype.Variable) int { return cmp.Compare(a.Offset, b.Offset) })
	doc := fmt.Sprintf("section %s: settings of the running kernel", kconfigSection)
	return append(errs, s.types.Section(s.kconfig.goName, doc, layout.Size, vars)...)
}

func kconfigError(name string) error {
	return fmt.Errorf("%s: is not of a type that a setting of the kernel can have: declare it as bool, enum libbpf_tristate, char, an integer or an array of char", gotype.Comment(name))
}

// kconfigKind returns how the runtime reads a setting into a variable of the type,
// and whether it can. The rules are libbpf's.
func kconfigKind(t btf.Type) (kind string, signed, ok bool) {
	switch c := ctype.Underlying(t).(type) {
	case *btf.Int:
		return kconfigInt(c)
	case *btf.Enum:
		return "KconfigTristate", false, c.Name == "libbpf_tristate" && c.Size == 4
	case *btf.Array:
		// Damaged BTF can have an array of itself.
		elem, ok := ctype.Underlying(c.Type).(*btf.Int)
		if !ok {
			return "", false, false
		}
		kind, _, ok := kconfigInt(elem)
		return "KconfigString", false, ok && kind == "KconfigChar" && c.Nelems > 0
	default:
		return "", false, false
	}
}

func kconfigInt(c *btf.Int) (kind string, signed, ok bool) {
	signed = c.Encoding == btf.Signed
	switch {
	case c.Encoding == btf.Bool:
		return "KconfigBool", false, c.Size == 1
	case c.Size == 1:
		return "KconfigChar", signed, true
	default:
		return "KconfigInt", signed, c.Size == 2 || c.Size == 4 || c.Size == 8
	}
}

func (s *skeleton) appendKconfig(b []byte) []byte {
	if s.kconfig == nil {
		return b
	}
	b = fmt.Appendf(b, "\t\t\tskeleton.Kconfig(%q, &s.%s, []skeleton.KconfigVar{\n", s.loaded.Section(kconfigSection), s.kconfig.goName)
	for _, v := range s.kconfig.vars {
		b = fmt.Appendf(b, "\t\t\t\t{Name: %q, Offset: %d, Size: %d, Kind: skeleton.%s", v.c, v.offset, v.size, v.kind)
		if v.signed {
			b = append(b, ", Signed: true"...)
		}
		if v.weak {
			b = append(b, ", Weak: true"...)
		}
		b = append(b, "},\n"...)
	}
	return append(b, "\t\t\t}),\n"...)
}
