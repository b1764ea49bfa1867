package bpfobj

import (
	"debug/dwarf"
	"debug/elf"
	"fmt"
	"path"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/secdef"
)

// noteAddresses marks the variables of a data section that hold addresses of other data, or of
// functions. The compiler leaves them to relocations, which BPF loaders do not apply to data:
// the variable has an offset instead. Maps and struct_ops tables, whose addresses loaders fill
// in, are in sections of their own.
func (r *reader) noteAddresses(index int, vars []Variable) {
	noted := make(map[string]bool)
	for _, rel := range r.relocs[index] {
		name, typ := r.variableAt(index, vars, rel.offset)
		if noted[name] {
			continue
		}
		noted[name] = true
		where := ""
		if line := r.declLine(name); line != "" {
			where = " (" + line + ")"
		}
		of, remedy := "other data", "keep an index of an array in the place of a pointer"
		switch {
		case r.isFunction(rel.symbol):
			of, remedy = "functions", fmt.Sprintf("declare it in SEC(%q) if it is a struct_ops table, and choose a function with a switch otherwise", secdef.StructOps[1])
		case isTextPointer(typ):
			_, local := inFunction(name)
			remedy = fmt.Sprintf("declare it as char %s[][N], whose elements hold the texts themselves", quote.Name(local))
		}
		r.obj.AddressWarnings = append(r.obj.AddressWarnings, fmt.Sprintf("%s%s: has addresses of %s, which loaders do not fill in: programs and Go code read offsets: %s", quote.Name(name), where, of, remedy))
	}
}

// isFunction reports whether a symbol is in code.
func (r *reader) isFunction(sym elf.Symbol) bool {
	return int(sym.Section) < len(r.file.Sections) && r.file.Sections[sym.Section].Flags&elf.SHF_EXECINSTR != 0
}

// variableAt returns the name and the type of the variable at an offset of a section,
// which can be a static one, without a type here. A global one is marked.
func (r *reader) variableAt(index int, vars []Variable, offset uint64) (string, btf.Type) {
	for i := range vars {
		if v := &vars[i]; v.Offset <= offset && offset-v.Offset < v.Size {
			v.Addresses = true
			return v.Name, v.Type
		}
	}
	for _, sym := range r.bySection[index] {
		if isObject(sym) && sym.Value <= offset && offset-sym.Value < sym.Size {
			return sym.Name, r.declaredType(r.file.Sections[index].Name, sym.Name)
		}
	}
	return "section " + r.file.Sections[index].Name, nil
}

// declaredType returns the type of a variable of a section, static or not, nil if BTF
// has none or several of the name.
func (r *reader) declaredType(section, name string) btf.Type {
	ds, err := r.datasec(section)
	if err != nil || ds == nil {
		return nil
	}
	var typ btf.Type
	for _, info := range ds.Vars {
		if v, ok := info.Type.(*btf.Var); ok && v.Name == name {
			if typ != nil {
				return nil
			}
			typ = v.Type
		}
	}
	return typ
}

// isTextPointer reports whether a variable is a pointer to text, or a table of such.
func isTextPointer(t btf.Type) bool {
	if t == nil {
		return false
	}
	for range maxNesting {
		array, ok := btf.As[*btf.Array](t)
		if !ok {
			break
		}
		t = array.Type
	}
	p, ok := btf.As[*btf.Pointer](t)
	if !ok {
		return false
	}
	c, ok := btf.As[*btf.Int](p.Target)
	return ok && c.Size == 1 && (c.Name == "char" || c.Encoding == btf.Char)
}

// maxNesting bounds how deep arrays are followed: more than any C program needs.
const maxNesting = 64

// inFunction takes apart the name that clang gives to a static variable of a function:
// f.names. The function is empty for another variable.
func inFunction(name string) (function, local string) {
	if function, local, ok := strings.Cut(name, "."); ok && function != "" {
		return function, local
	}
	return "", name
}

// declLine returns where a variable is declared, as file:line, when the object still
// has the compiler's debug information; a linked object has none.
func (r *reader) declLine(name string) (line string) {
	// The package panics on damaged debug information, and the line is optional.
	defer func() {
		if recover() != nil {
			line = ""
		}
	}()
	data := r.debugInfo()
	if data == nil {
		return ""
	}
	entries := data.Reader()
	function, name := inFunction(name)
	// depth is how many entries enclose the next one, and inside how many enclose the
	// function's own, when that is the function.
	depth, inside := 0, 0
	var files []*dwarf.LineFile
	var source, dir string
	for {
		entry, err := entries.Next()
		if err != nil || entry == nil {
			return ""
		}
		if entry.Tag == 0 {
			if depth--; depth < inside {
				inside = 0
			}
			continue
		}
		if entry.Children {
			depth++
		}
		switch entry.Tag {
		case dwarf.TagCompileUnit:
			files = nil
			source, _ = entry.Val(dwarf.AttrName).(string)
			dir, _ = entry.Val(dwarf.AttrCompDir).(string)
			if lines, err := data.LineReader(entry); err == nil && lines != nil {
				files = lines.Files()
			}
		case dwarf.TagSubprogram:
			switch {
			case !entry.Children:
			case function != "" && entry.Val(dwarf.AttrName) == function:
				inside = depth
			default:
				entries.SkipChildren()
				depth--
			}
		case dwarf.TagVariable:
			if entry.Val(dwarf.AttrName) == name && (inside > 0) == (function != "") {
				n, ok := entry.Val(dwarf.AttrDeclLine).(int64)
				file, known := entry.Val(dwarf.AttrDeclFile).(int64)
				if !ok || !known || file < 0 || int(file) >= len(files) || files[file] == nil {
					return ""
				}
				// The source as the compiler was given it, and a header from where it ran.
				name := files[file].Name
				if strings.HasSuffix(name, source) {
					name = source
				}
				name = strings.TrimPrefix(name, dir+"/")
				return fmt.Sprintf("%s:%d", quote.Text(path.Clean(name)), n)
			}
		}
	}
}

// debugInfo returns the DWARF of the file. Its relocations need not be applied: for BPF the
// addends are in the contents already, and the sections that they refer to start at zero.
func (r *reader) debugInfo() *dwarf.Data {
	section := func(name string) []byte {
		sec := r.file.Section(name)
		if sec == nil || sec.Type != elf.SHT_PROGBITS || sec.Flags&elf.SHF_COMPRESSED != 0 {
			return nil
		}
		return r.contents(sec)
	}
	info := section(".debug_info")
	if info == nil {
		return nil
	}
	data, err := dwarf.New(section(".debug_abbrev"), nil, nil, info, section(".debug_line"), nil, nil, section(".debug_str"))
	if err != nil {
		return nil
	}
	for _, name := range []string{".debug_addr", ".debug_line_str", ".debug_rnglists", ".debug_str_offsets"} {
		if contents := section(name); contents != nil {
			if err := data.AddSection(name, contents); err != nil {
				return nil
			}
		}
	}
	return data
}
