package skelgen_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/imagegen"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
	"github.com/rules-bpf/rules_bpf/tool/internal/skelgen"
)

// hostile are names that no compiler makes and an object can have: a sequence of a
// terminal, a line of its own, an end of the comment, letters from right to left, a line
// separator and a byte that is not UTF-8.
var hostile = []string{"a\x1b[31mRED", "a\nbpfgen: all is well", "a*/ func init() {", "a\u202eb", "a\u2028b", "a\xffb", "a\x00b"[:1], "a\"b`c"}

// Whatever an object calls things, generated code is Go, and shows nothing that cannot
// be seen.
func TestHostileNames(t *testing.T) {
	for _, name := range hostile {
		t.Run(strconv.Quote(name), func(t *testing.T) {
			file := &File{
				License:  name,
				Programs: []Program{{Name: name + "1", Section: "kprobe/" + name, Refs: []string{name + "2"}}, {Name: name + "3", Section: "raw_tp/" + name}},
				Types:    []btf.Type{Struct(name+"4", M(name+"5", Enum(name+"6", V(name+"7", 1))), M(name+"8", Array(U8, 0)))},
				Vars: []Var{
					{Section: ".bss", Name: name + "2", Type: Struct(name, M(name, Typedef(name+"9", U32)), M("", Union("", M(name+"a", U32), M(name+"b", S16))))},
					{Section: ".data." + name, Name: name + "c", Type: Enum("", V(name+"d", 1)), Value: le(int32(1))},
					{Section: ".maps", Name: name + "e", Type: Map(1, 16, U32, Struct(name+"f", M(name, U64)))},
					{Section: ".struct_ops.link", Name: name + "g", Type: Struct(name+"h", M(name, U64))},
					{Section: ".kconfig", Extern: true, Name: "CONFIG_" + name, Type: U32},
				},
			}
			data := file.Build()
			obj, err := bpfobj.Read(name+".bpf.o", data)
			if err != nil {
				t.Fatal(err)
			}
			loaded, err := imagegen.Build("x.bpf.o", data)
			if err != nil {
				t.Fatal(err)
			}
			src, err := skelgen.Skeleton(obj, loaded, skelgen.Options{Package: "hostile", Types: []string{name + "4"}})
			if err != nil {
				visible(t, err.Error())
			} else {
				checkSource(t, src)
				visible(t, string(src))
			}
			lib, err := bpfobj.ReadLibrary(name+".bpf.o", data)
			if err != nil {
				t.Fatal(err)
			}
			if src, err = skelgen.Subskeleton(lib, skelgen.Options{Package: "hostile"}); err != nil {
				visible(t, err.Error())
			} else {
				checkSource(t, src)
				visible(t, string(src))
			}
			_, err = skelgen.Skeleton(obj, loaded, skelgen.Options{Package: "hostile", Types: []string{name, name + "z", "struct " + name}})
			if err != nil {
				visible(t, err.Error())
			}
		})
	}
}

// What is wrong with an object is said in lines that end where they end.
func TestHostileErrors(t *testing.T) {
	odd := &btf.Int{Name: "odd\x1b[31m", Size: 3}
	for _, name := range hostile {
		prog := Program{Name: "prog", Section: "xdp"}
		for what, file := range map[string]*File{
			"static program": {Programs: []Program{prog, {Name: name, Section: "tc/" + name, Static: true}}},
			"unread section": {Programs: []Program{{Name: "prog", Section: "xdp", Refs: []string{name}}}, Vars: []Var{{Section: "conf" + name, Name: name, Type: U32, Value: le(int32(1))}}},
			"warning":        {Programs: []Program{prog}, Vars: []Var{{Section: "conf" + name, Name: name, Type: U32, Value: le(int32(1))}}},
			"addresses":      {Programs: []Program{prog}, Vars: []Var{{Section: ".data." + name, Name: name, Type: Ptr(U32), Value: le(uint64(0)), Refs: []Ref{{Offset: 0, Name: name}}}}},
			"static map":     {Programs: []Program{prog}, Vars: []Var{{Section: ".maps", Name: name, Type: Map(1, 1, U32, U32), Static: true}}},
			"map":            {Programs: []Program{prog}, Vars: []Var{{Section: ".maps", Name: name, Type: Struct("", M(name, U32))}}},
			"type":           {Programs: []Program{prog}, Vars: []Var{{Section: ".bss", Name: name, Type: Struct(name, M(name, odd))}}},
			"table":          {Programs: []Program{prog}, Vars: []Var{{Section: ".struct_ops", Name: name, Type: U32, Value: le(int32(1))}}},
			"kconfig":        {Programs: []Program{prog}, Vars: []Var{{Section: ".kconfig", Extern: true, Name: name, Type: F64}}},
			"twice":          {Programs: []Program{{Name: name, Section: "tc"}, {Name: name, Section: "xdp/" + name}}},
		} {
			t.Run(what+" "+strconv.Quote(name), func(t *testing.T) {
				data := file.Build()
				obj, err := bpfobj.Read("x.bpf.o", data)
				if err == nil {
					said := obj.AddressWarnings
					for _, loss := range obj.Losses {
						said = append(said, loss.Text)
					}
					visible(t, strings.Join(said, "\n"))
					var loaded *imagegen.Image
					if loaded, err = imagegen.Build("x.bpf.o", data); err == nil {
						_, err = skelgen.Skeleton(obj, loaded, skelgen.Options{Package: "x"})
					}
				}
				if err == nil {
					return
				}
				visible(t, err.Error())
				if strings.Contains(err.Error(), "all is well\n") || strings.Contains("\n"+err.Error(), "\nbpfgen: all") {
					t.Errorf("has a line of the object's: %q", err)
				}
			})
		}
	}
}

// visible makes sure that a text has no character but those that can be seen, and the
// ends and indents of lines.
func visible(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		for _, r := range line {
			if r != '\n' && r != '\t' && (!strconv.IsPrint(r) || r == '\ufffd') {
				t.Errorf("%U in the line %q", r, line)
				break
			}
		}
	}
}
