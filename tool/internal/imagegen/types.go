package imagegen

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
)

// The sections that no file has: the kernel and its configuration fill them in.
const (
	ksymsSection   = ".ksyms"
	kconfigSection = ".kconfig"
)

// fixTypes completes the DATASECs (sizes and offsets, which compilers leave to linkers and
// loaders), and makes hidden variables and functions static.
func (b *builder) fixTypes() error {
	if b.btf == nil {
		return nil
	}
	symbols := make(map[*elfobj.Section]map[string]*elfobj.Symbol)
	hidden := make(map[string]bool)
	for _, sym := range b.file.Symbols {
		if sym.Section == nil || sym.Bind == elf.STB_LOCAL {
			continue
		}
		if symbols[sym.Section] == nil {
			symbols[sym.Section] = make(map[string]*elfobj.Symbol)
		}
		symbols[sym.Section][sym.Name] = sym
		if sym.Section.Name == textSection && sym.Section.IsCode() {
			hidden[sym.Name] = isHidden(sym)
		}
	}
	for id := range b.btf.Len() {
		switch t := b.btf.At(id); t.Kind() {
		case rawbtf.Datasec:
			name := t.Name()
			if name == ksymsSection || name == kconfigSection {
				continue
			}
			if err := b.fixDatasec(t, name, symbols); err != nil {
				return err
			}
			sortDatasec(t)
		case rawbtf.Func:
			if t.Linkage() == rawbtf.Global && hidden[t.Name()] {
				t.SetLinkage(rawbtf.Static)
			}
		}
	}
	return nil
}

func (b *builder) fixDatasec(datasec rawbtf.Editable, name string, symbols map[*elfobj.Section]map[string]*elfobj.Symbol) error {
	sec := b.file.Section(name)
	if sec == nil || !isContents(sec) {
		if datasec.Vlen() == 0 {
			return nil
		}
		return fmt.Errorf("section %s: BTF has its variables, and the file has no such section, as clang has moved them: link the object with bpfgen link, also if it is the only one", quote.Name(name))
	}
	linked := datasec.ByteSize() != 0
	if !linked {
		datasec.SetSize(uint32(size(sec)))
	} else if uint64(datasec.ByteSize()) != size(sec) {
		return fmt.Errorf("section %s: has %d bytes in the file and %d in BTF: link the object again", quote.Name(name), size(sec), datasec.ByteSize())
	}
	for i := range datasec.Vlen() {
		info := datasec.Secinfo(i)
		v := b.btf.At(info.Type)
		if v.Kind() != rawbtf.Var {
			return fmt.Errorf("section %s: its DATASEC has an entry that is not a variable: the file is damaged: build it again", quote.Name(name))
		}
		if v.Linkage() == rawbtf.Global {
			sym := symbols[sec][v.Name()]
			if sym == nil {
				return fmt.Errorf("%s: is in section %s according to BTF, but the symbol table has no such symbol there: build the object again, and do not strip it", quote.Name(v.Name()), quote.Name(name))
			}
			if !linked {
				info.Offset = uint32(sym.Value)
				datasec.SetSecinfo(i, info)
			}
			if isHidden(sym) {
				v.SetLinkage(rawbtf.Static)
			}
		}
		if uint64(info.Offset)+uint64(info.Size) > size(sec) {
			return fmt.Errorf("%s: reaches beyond the end of section %s: the file is damaged: build it again", quote.Name(v.Name()), quote.Name(name))
		}
	}
	return nil
}

// sortDatasec puts the entries of a DATASEC into the order of their offsets.
func sortDatasec(datasec rawbtf.Editable) {
	var entries []rawbtf.Secinfo
	for i := range datasec.Vlen() {
		entries = append(entries, datasec.Secinfo(i))
	}
	slices.SortStableFunc(entries, func(a, b rawbtf.Secinfo) int { return cmp.Compare(a.Offset, b.Offset) })
	for i, e := range entries {
		datasec.SetSecinfo(i, e)
	}
}

// undefined returns the symbols that the file does not define, by name.
func (b *builder) undefined() map[string]*elfobj.Symbol {
	undefined := make(map[string]*elfobj.Symbol)
	for _, sym := range b.file.Symbols {
		if sym.Section == nil && sym.Index == elf.SHN_UNDEF && sym.Bind != elf.STB_LOCAL && sym.Name != "" {
			undefined[sym.Name] = sym
		}
	}
	return undefined
}

// dummyName is the name that libbpf gives the variable in place of functions in .ksyms, and
// parameters that have no name.
const dummyName = "dummy_ksym"

// ksyms finds the externs, and changes DATASEC .ksyms to what kernels accept: its variables
// are defined and of type int, and a variable takes the place of functions.
func (b *builder) ksyms() error {
	id := b.datasecs[ksymsSection]
	if id == 0 {
		return nil
	}
	undefined := b.undefined()
	dummy := uint32(0)
	number := b.number()
	for i := range b.btf.At(id).Vlen() {
		if b.btf.At(b.btf.At(id).Secinfo(i).Type).Kind() == rawbtf.Func {
			dummy = b.btf.AddVar(dummyName, rawbtf.Global, number)
			break
		}
	}
	// From here on, no type is added.
	datasec := b.btf.At(id)
	const size = 4 // of an int
	for i := range datasec.Vlen() {
		info := datasec.Secinfo(i)
		t := b.btf.At(info.Type)
		e := image.Extern{Name: t.Name(), Type: t.Ref(), Kind: image.KsymAddress}
		switch t.Kind() {
		case rawbtf.Var:
			if typ, ok := b.types.At(e.Type).Skip(); ok && typ.Kind() != rawbtf.Void {
				e.Kind = image.KsymVariable
			} else {
				e.Type = 0
			}
			t.SetLinkage(rawbtf.Global)
			t.SetRef(number)
		case rawbtf.Func:
			e.Kind = image.Kfunc
			proto := b.btf.At(e.Type)
			if proto.Kind() != rawbtf.FuncProto {
				return fmt.Errorf("%s: is a function without parameters and result in BTF: the file is damaged: build it again", quote.Name(e.Name))
			}
			t.SetLinkage(rawbtf.Global)
			nameParams(proto, b.btf.At(dummy).NameOffset())
			info.Type = dummy
		default:
			return fmt.Errorf("section %s: its DATASEC has an entry that is neither a variable nor a function: the file is damaged: build it again", ksymsSection)
		}
		info.Offset, info.Size = uint32(i)*size, size
		datasec.SetSecinfo(i, info)
		if sym := undefined[e.Name]; sym != nil {
			delete(undefined, e.Name)
			e.Weak = sym.Bind == elf.STB_WEAK
			b.out.Externs = append(b.out.Externs, e)
		}
	}
	datasec.SetSize(uint32(datasec.Vlen()) * size)
	slices.SortFunc(b.out.Externs, func(a, b image.Extern) int { return strings.Compare(a.Name, b.Name) })
	for i, e := range b.out.Externs {
		b.externs[e.Name] = uint32(i)
	}
	return nil
}

// nameParams gives the parameters of a prototype that have a type and no name the name at an
// offset of strings.
func nameParams(proto rawbtf.Editable, name uint32) {
	for i := range proto.Vlen() {
		if typ := proto.Param(i); typ != 0 && proto.ParamNameOffset(i) == 0 {
			proto.SetParam(i, name, typ)
		}
	}
}

// number returns the ID of the first integer of 4 bytes, which is added when there is none.
func (b *builder) number() uint32 {
	for id := range b.btf.Len() {
		if t := b.btf.At(id); t.Kind() == rawbtf.Int && t.IntBits() == 32 {
			return id
		}
	}
	return b.btf.AddInt("int", 4)
}

// kconfigMap lays out the variables of section .kconfig: those with the largest alignment
// first, of these the smallest first, and then by name.
func (b *builder) kconfigMap() error {
	sec := b.datasecs[kconfigSection]
	if sec == 0 {
		return nil
	}
	datasec := b.btf.At(sec)
	if datasec.Vlen() == 0 {
		return nil
	}
	undefined := b.undefined()
	type variable struct {
		image.KconfigVar
		align uint32
		// entry is the index in the DATASEC.
		entry int
	}
	var vars []variable
	for i := range datasec.Vlen() {
		info := datasec.Secinfo(i)
		declared := b.btf.At(info.Type)
		if declared.Kind() != rawbtf.Var {
			return errors.New("section .kconfig: its DATASEC has an entry that is not a variable: the file is damaged: build it again")
		}
		typ := declared.Elem()
		v := variable{entry: i, align: align(typ)}
		v.Name, v.Size = declared.Name(), info.Size
		sym := undefined[v.Name]
		if sym == nil || declared.Linkage() != rawbtf.Extern {
			return fmt.Errorf("%s: is a __kconfig variable and not declared extern: declare it extern, without a value", quote.Name(v.Name))
		}
		delete(undefined, v.Name)
		v.Weak = sym.Bind == elf.STB_WEAK
		var ok bool
		if v.Kind, v.Signed, ok = kconfigKind(typ); !ok {
			return bpfobj.KconfigTypeError(v.Name)
		}
		if n, ok := typ.SizeOf(); !ok || n != uint64(v.Size) || n > maxKconfig {
			return fmt.Errorf("%s: has %d bytes, which no kconfig value has: declare it as bool, enum libbpf_tristate, an integer or an array of char", quote.Name(v.Name), v.Size)
		}
		vars = append(vars, v)
	}
	slices.SortFunc(vars, func(a, b variable) int {
		return cmp.Or(cmp.Compare(b.align, a.align), cmp.Compare(a.Size, b.Size), strings.Compare(a.Name, b.Name))
	})
	end := uint32(0)
	for _, v := range vars {
		v.Offset = (end + v.align - 1) / v.align * v.align
		end = v.Offset + v.Size
		if end > maxKconfig {
			return fmt.Errorf("section .kconfig: has more than %d bytes: declare smaller arrays", maxKconfig)
		}
		info := datasec.Secinfo(v.entry)
		info.Offset = v.Offset
		datasec.SetSecinfo(v.entry, info)
		b.btf.At(info.Type).SetLinkage(rawbtf.Global)
		b.kconfig[v.Name] = v.Offset
		b.out.Kconfig = append(b.out.Kconfig, v.KconfigVar)
	}
	datasec.SetSize(end)
	sortDatasec(datasec)
	b.out.Maps = append(b.out.Maps, sectionMap(kconfigSection, image.KconfigMap, end, sec))
	return nil
}

// align returns the alignment of a variable of the type in .kconfig, in bytes. What can be
// there are integers, enums and arrays of these.
func align(t rawbtf.Type) uint32 {
	const most = 8
	// C nests arrays to some depth, hostile BTF without end.
	const maxNesting = 64
	for range maxNesting {
		var ok bool
		if t, ok = t.Skip(); !ok {
			return most
		}
		switch t.Kind() {
		case rawbtf.Array:
			elem, _ := t.Array()
			t = t.In().At(elem)
		case rawbtf.Int, rawbtf.Enum, rawbtf.Enum64, rawbtf.Float:
			if n := t.ByteSize(); n == 1 || n == 2 || n == 4 {
				return n
			}
			return most
		default:
			return most
		}
	}
	return most
}

// maxKconfig bounds the values of Kconfig options: those of kernels are shorter.
const maxKconfig = 1 << 20

// kconfigIndex returns the index of the map of section .kconfig.
func (b *builder) kconfigIndex() uint32 {
	return uint32(slices.IndexFunc(b.out.Maps, func(m image.Map) bool { return m.Kind == image.KconfigMap }))
}

// kconfigKind returns how an option is read into a variable of the type, and whether it can be.
func kconfigKind(t rawbtf.Type) (kind image.KconfigKind, signed, ok bool) {
	t, ok = t.Skip()
	if !ok {
		return 0, false, false
	}
	switch t.Kind() {
	case rawbtf.Int:
		return kconfigInt(t)
	case rawbtf.Enum, rawbtf.Enum64:
		return image.KconfigTristate, false, t.Name() == "libbpf_tristate" && t.ByteSize() == 4
	case rawbtf.Array:
		elem, n := t.Array()
		// Damaged BTF can have an array of itself.
		if t, ok = t.In().At(elem).Skip(); !ok || t.Kind() != rawbtf.Int {
			return 0, false, false
		}
		kind, _, ok = kconfigInt(t)
		return image.KconfigString, false, ok && kind == image.KconfigChar && n > 0
	}
	return 0, false, false
}

func kconfigInt(t rawbtf.Type) (kind image.KconfigKind, signed, ok bool) {
	switch n := t.ByteSize(); {
	case t.Bool():
		return image.KconfigBool, false, n == 1
	case n == 1:
		return image.KconfigChar, t.Signed(), true
	default:
		return image.KconfigInt, t.Signed(), n == 2 || n == 4 || n == 8
	}
}

// callbacks finds the exception callbacks, which functions name in a declaration tag.
func (b *builder) callbacks() error {
	if b.btf == nil {
		return nil
	}
	const prefix = "exception_callback:"
	named := make(map[string]uint32)
	for i := range b.out.Functions {
		// The last one of a name, as static functions of several files may share it with
		// one that is global.
		f := &b.out.Functions[i]
		if _, ok := named[f.Name]; !ok || f.Global {
			named[f.Name] = uint32(i)
		}
	}
	several := make(map[uint32]bool)
	for id := range b.btf.Len() {
		tag := b.btf.At(id)
		if tag.Kind() != rawbtf.DeclTag || tag.Component() != -1 {
			continue
		}
		callback, ok := strings.CutPrefix(tag.Name(), prefix)
		if !ok {
			continue
		}
		fn := tag.Elem()
		if fn.Kind() != rawbtf.Func {
			return fmt.Errorf("tag %s: is on something else than a function: write __exception_cb(%s) before a program", quote.Text(tag.Name()), quote.Name(callback))
		}
		from, ok := named[fn.Name()]
		if !ok || several[from] {
			continue
		}
		to, ok := named[callback]
		switch {
		case !ok:
			return fmt.Errorf("%s: its exception callback %s is not in the object: define it", quote.Name(fn.Name()), quote.Name(callback))
		case !b.out.Functions[to].Global:
			return fmt.Errorf("%s: its exception callback %s is static or hidden, and must be global: remove the word static, or __hidden", quote.Name(fn.Name()), quote.Name(callback))
		case b.out.Functions[from].ExceptionCallback != image.NoIndex:
			// The verifier refuses two, and says so.
			b.out.Functions[from].ExceptionCallback = image.NoIndex
			several[from] = true
		default:
			b.out.Functions[from].ExceptionCallback = to
		}
	}
	return nil
}
