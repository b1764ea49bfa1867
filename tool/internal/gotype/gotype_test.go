package gotype

import (
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/tool/internal/gonames"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

// declare lays out one variable called v as the section Bss, and returns the
// declarations.
func declare(t btf.Type) (string, error) {
	size, err := btf.Sizeof(t)
	if err != nil {
		size = 8
	}
	var errs []error
	d := settled(func(d *Decls) {
		errs = d.Section("Bss", ".bss", "a section", uint64(size), []Variable{{Name: "v", Offset: 0, Size: uint64(size), Type: t}})
	}, "Bss")
	return string(d.Append(nil)), errors.Join(errs...)
}

// settled returns the declarations that declare makes, with names that differ from each
// other and from those that are reserved.
func settled(declare func(*Decls), reserved ...string) *Decls {
	names := gonames.NewScope(reserved...)
	var d *Decls
	names.Settle(func() {
		d = NewDecls(names)
		declare(d)
	})
	return d
}

func TestTypes(t *testing.T) {
	for _, tt := range []struct {
		name string
		typ  btf.Type
		want string
	}{
		{"bool", Bool, "bool"},
		{"char", Char, "int8"},
		{"char of old BTF", &btf.Int{Name: "char", Size: 1, Encoding: btf.Char}, "int8"},
		{"signed char", S8, "int8"},
		{"unsigned char", U8, "uint8"},
		{"short", S16, "int16"},
		{"unsigned short", U16, "uint16"},
		{"int", S32, "int32"},
		{"unsigned int", U32, "uint32"},
		{"long long", S64, "int64"},
		{"unsigned long long", U64, "uint64"},
		{"float", F32, "float32"},
		{"double", F64, "float64"},
		{"const", Const(U32), "uint32"},
		{"volatile", Volatile(Const(U32)), "uint32"},
		{"restrict", &btf.Restrict{Type: U32}, "uint32"},
		{"type tag", &btf.TypeTag{Type: U32, Value: "user"}, "uint32"},
		{"typedef", Typedef("__u32", U32), "uint32"},
		{"typedef of typedef", Typedef("pid_t", Const(Typedef("__kernel_pid_t", S32))), "PidT"},
		{"typedef with a name of its own", Typedef("__u32", Typedef("id_t", U32)), "IdT"},
		{"typedef of a float", Typedef("meters", F64), "Meters"},
		{"typedef of a bool", Typedef("flag", Bool), "bool"},
		{"array of typedefs", Array(Typedef("id_t", U32), 2), "[2]IdT"},

		{"pointer", Ptr(U32), "skeleton.Pointer // v, unsigned int *"},
		{"pointer to nothing", Ptr((*btf.Void)(nil)), "skeleton.Pointer // v, void *"},
		{"function pointer", Ptr(&btf.FuncProto{Return: U32}), "skeleton.Pointer // v, unsigned int (*)(void)"},
		{"typedef of a pointer", Typedef("handler", Ptr(&btf.FuncProto{Return: U32})), "skeleton.Pointer // v, unsigned int (*)(void)"},
		{"array of pointers", Array(Ptr(&btf.Fwd{Name: "f"}), 2), "[2]skeleton.Pointer // v, struct f *[2]"},
		{"__int128", S128, "skeleton.Int128"},
		{"unsigned __int128", &btf.Int{Name: "unsigned __int128", Size: 16}, "skeleton.Uint128"},
		{"typedef of __int128", Typedef("wide", S128), "skeleton.Int128"},
		{"long double", &btf.Float{Name: "long double", Size: 16}, "[16]byte"},
		{"half", &btf.Float{Name: "_Float16", Size: 2}, "[2]byte"},
		{"large bool", &btf.Int{Name: "_Bool", Size: 4, Encoding: btf.Bool}, "uint32"},
		{"union", Union("u", M("a", U32)), "U"},
		{"anonymous union", Union("", M("a", U32)), "BssV"},
		{"typedef of an anonymous union", Typedef("value_t", Union("", M("a", U32))), "ValueT"},
		{"spin lock", Struct("bpf_spin_lock", M("val", U32)), "BpfSpinLock"},

		{"array", Array(U32, 3), "[3]uint32"},
		{"array of arrays", Array(Array(U16, 3), 2), "[2][3]uint16"},
		{"array of constants", Array(Const(U32), 3), "[3]uint32"},
		{"array of bools", Array(Bool, 2), "[2]bool"},
		{"typedef of an array", Typedef("triple", Array(U32, 3)), "[3]uint32"},
		{"array of typedefs of arrays", Array(Typedef("triple", Array(U32, 3)), 2), "[2][3]uint32"},
		{"text", Array(Char, 16), "[16]byte"},
		{"constant text", Array(Const(Volatile(Char)), 16), "[16]byte"},
		{"lines of text", Array(Array(Char, 16), 2), "[2][16]byte"},
		{"text with a type of its own", Array(Typedef("letter", Char), 4), "[4]byte"},
		{"tagged text", Array(&btf.TypeTag{Type: Char}, 4), "[4]byte"},
		{"bytes", Array(U8, 16), "[16]uint8"},
		{"signed bytes", Array(S8, 16), "[16]int8"},

		{"enum", Enum("mode"), "Mode"},
		{"anonymous enum", Enum(""), "BssV"},
		{"typedef of an anonymous enum", Typedef("mode_t", Enum("")), "ModeT"},
		{"struct", Struct("point", M("x", U32)), "Point"},
		{"anonymous struct", Struct("", M("x", U32)), "BssV"},
		{"array of anonymous structs", Array(Struct("", M("x", U32)), 2), "[2]BssV"},
		{"typedef of an anonymous struct", Typedef("point_t", Struct("", M("x", U32))), "PointT"},
		{"typedef of a struct", Typedef("point_t", Struct("point", M("x", U32))), "Point"},
		{"typedef of a typedef of an anonymous struct", Typedef("outer", Typedef("inner", Struct("", M("x", U32)))), "Inner"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := declare(tt.typ)
			if err != nil {
				t.Fatal(err)
			}
			want := "\tV " + tt.want
			if !strings.Contains(want, "//") {
				want += " // v"
			}
			if want += "\n"; !strings.Contains(got, want) {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestStructs(t *testing.T) {
	point := Struct("point", M("x", U16), M("y", U64))
	for _, tt := range []struct {
		name string
		typ  btf.Type
		want []string // the fields of the declared struct
	}{
		{"gap between", point, []string{"X uint16 // x", "_ [6]byte", "Y uint64 // y"}},
		{"gap at the end", Struct("s", M("x", U64), M("y", U8)), []string{"X uint64 // x", "Y uint8 // y", "_ [7]byte"}},
		{"no gap", Struct("s", M("x", U32), M("y", U32)), []string{"X uint32 // x", "Y uint32 // y"}},
		{"bytes do not align", Struct("s", M("a", U8), M("b", Array(Char, 3)), M("c", U32)), []string{"A uint8 // a", "B [3]byte // b", "C uint32 // c"}},
		{"nested", Struct("s", M("a", U8), M("p", point)), []string{"A uint8 // a", "_ [7]byte", "P Point // p"}},
		{"anonymous inside", Struct("s", M("in", Struct("", M("a", U8)))), []string{"In SIn // in"}},
		{"over-aligned", &btf.Struct{Name: "s", Size: 64, Members: []btf.Member{M("a", U8)}}, []string{"A uint8 // a", "_ [63]byte"}},
		{"over-aligned member", &btf.Struct{Name: "s", Size: 32, Members: []btf.Member{M("a", U8), {Name: "b", Type: U64, Offset: 128}}}, []string{"A uint8 // a", "_ [15]byte", "B uint64 // b", "_ [8]byte"}},
		{"packed, but as Go has it", &btf.Struct{Name: "s", Size: 3, Members: []btf.Member{M("a", U8), {Name: "b", Type: Array(U8, 2), Offset: 8}}}, []string{"A uint8 // a", "B [2]uint8 // b"}},
		{"members in any order", &btf.Struct{Name: "s", Size: 8, Members: []btf.Member{{Name: "b", Type: U32, Offset: 32}, M("a", U32)}}, []string{"A uint32 // a", "B uint32 // b"}},
		{"equal names", Struct("s", M("a_b", U32), M("aB", U32), M("A_B", U32)), []string{"C_a_b uint32 // a_b", "C_aB uint32 // aB", "C_A_B uint32 // A_B"}},
		{"nothing but a gap", &btf.Struct{Name: "s", Size: 4}, []string{"_ [4]byte"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := declare(tt.typ)
			if err != nil {
				t.Fatal(err)
			}
			want := "struct {\n\t_ structs.HostLayout\n\t" + strings.Join(tt.want, "\n\t") + "\n}\n"
			if !strings.Contains(got, want) {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestEnums(t *testing.T) {
	enum := func(size uint32, signed bool, values ...uint64) btf.Type {
		e := &btf.Enum{Name: "e", Size: size, Signed: signed}
		for i, v := range values {
			e.Values = append(e.Values, V(string(rune('A'+i)), v))
		}
		return e
	}
	const minus1 = 1<<64 - 1
	for _, tt := range []struct {
		name  string
		typ   btf.Type
		under string
		want  []string
	}{
		{"plain", enum(4, false, 0, 1), "uint32", []string{"0", "1"}},
		{"signed", enum(4, true, minus1, 1<<31-1), "int32", []string{"-1", "2147483647"}},
		{"largest", enum(4, false, 1<<32-1), "uint32", []string{"4294967295"}},
		{"of 8 bytes", enum(8, false, minus1), "uint64", []string{"18446744073709551615"}},
		{"signed, of 8 bytes", enum(8, true, minus1, 1<<63), "int64", []string{"-1", "-9223372036854775808"}},
		{"of 1 byte", enum(1, false, 255), "uint8", []string{"255"}},
		{"of 2 bytes", enum(2, false, 65535), "uint16", []string{"65535"}},
		{"signed, of 1 byte", enum(1, true, minus1, 127), "int8", []string{"-1", "127"}},
		// Clang before version 16 does not say that an enum is signed.
		{"not marked as signed, of 1 byte", enum(1, false, 1<<32-1, 127), "int8", []string{"-1", "127"}},
		{"not marked as signed, of 2 bytes", enum(2, false, 1<<32-2), "int16", []string{"-2"}},
		{"empty", enum(4, false), "uint32", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := declare(tt.typ)
			if err != nil {
				t.Fatal(err)
			}
			want := "type E " + tt.under + "\n"
			if len(tt.want) > 0 {
				want += "\n// Values of E.\nconst (\n"
			}
			for i, v := range tt.want {
				c := string(rune('A' + i))
				want += "\t" + c + " E = " + v + " // " + c + "\n"
			}
			if !strings.Contains(got, want) {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	loop := &btf.Struct{Name: "loop", Size: 8}
	loop.Members = []btf.Member{M("again", Array(loop, 1))}
	qualifiers := &btf.Const{}
	qualifiers.Type = &btf.Volatile{Type: qualifiers}
	typedefs := &btf.Typedef{Name: "again"}
	typedefs.Type = typedefs
	arrays := &btf.Array{Nelems: 1}
	arrays.Type = arrays
	odd := &btf.Int{Name: "i", Size: 3}
	anonymousLoop := &btf.Struct{Size: 8}
	anonymousLoop.Members = []btf.Member{M("", anonymousLoop), M("", anonymousLoop)}
	many := Struct("")
	for range 63 {
		many = &btf.Struct{Members: []btf.Member{M("", many), M("", many)}}
	}
	var deep btf.Type = U32
	for range 100 {
		deep = Struct("", M("a", deep))
	}
	// Each has the one before it twice: 2^60 ways to what is wrong.
	doubled := Struct("s", M("a", odd))
	for range 60 {
		doubled = &btf.Struct{Name: "s", Size: 4, Members: []btf.Member{M("a", doubled), M("b", Const(doubled))}}
	}
	proto := &btf.FuncProto{Return: U32}
	for range 100 {
		proto.Params = append(proto.Params, btf.FuncParam{Type: proto})
	}
	for _, tt := range []struct {
		name string
		typ  btf.Type
		want string
	}{
		{"unknown encoding", &btf.Int{Name: "i", Size: 4, Encoding: 7}, "v: i: has the encoding 7"},
		{"odd integer", &btf.Int{Name: "i", Size: 3}, "v: i: an integer of 3 bytes"},
		{"odd enum", &btf.Enum{Name: "e", Size: 3}, "v: enum e: an enum of 3 bytes"},
		{"enum value too large", &btf.Enum{Name: "e", Size: 1, Values: []btf.EnumValue{V("A", 300)}}, "v: enum e: A does not fit its 1 bytes"},
		{"enum value too small", &btf.Enum{Name: "e", Size: 1, Signed: true, Values: []btf.EnumValue{V("A", 1<<64-200)}}, "v: enum e: A does not fit"},
		{"huge array", Array(Array(U64, 1<<31), 1<<31), "v[]: unsigned long long[2147483648]: is larger than memory can be"},
		{"forward declaration", &btf.Fwd{Name: "f"}, "v: struct f: is declared and never defined"},
		{"forward declaration of a union", &btf.Fwd{Name: "f", Kind: btf.FwdUnion}, "v: union f: is declared"},
		{"void", (*btf.Void)(nil), "v: void: is not the type of a variable"},
		{"function", &btf.Func{Name: "f"}, "v: f: is not the type of a variable"},
		{"bit-field by its offset", &btf.Struct{Name: "s", Size: 4, Members: []btf.Member{{Name: "b", Type: U32, Offset: 3}}}, "v.b: unsigned int: does not start at a byte"},
		{"overlapping members", &btf.Struct{Name: "s", Size: 8, Members: []btf.Member{M("a", U64), {Name: "b", Type: U8, Offset: 8}}}, "v.b: unsigned char: is at offset 1, within what comes before it"},
		{"members beyond the struct", &btf.Struct{Name: "s", Size: 4, Members: []btf.Member{M("a", U64)}}, "v: struct s: has 4 bytes, fewer than its members"},
		{"deep inside", Struct("s", M("a", Array(Struct("t", M("b", Array(odd, 2))), 3))), "v.a[].b[]: i: an integer of 3 bytes"},
		{"inside an anonymous struct", Struct("s", M("", Struct("", M("", Union("", M("b", odd)))))), "v.b: i: an integer of 3 bytes"},
		{"anonymous member that is not a struct", Struct("s", M("", U32)), "v.(anonymous): unsigned int: a member without a name"},
		{"struct in itself without a name", anonymousLoop, "is nested too deep"},
		{"many members", many, "is nested too deep"},
		{"member beyond the union", &btf.Union{Name: "u", Size: 4, Members: []btf.Member{M("a", U64)}}, "v.a: unsigned long long: lies beyond the end of its union"},
		{"member beyond the anonymous union", &btf.Struct{Name: "s", Size: 8, Members: []btf.Member{M("", &btf.Union{Size: 4, Members: []btf.Member{M("a", U64)}})}}, "v.a: unsigned long long: lies beyond the end of its union"},
		{"overlapping unions", &btf.Struct{Name: "s", Size: 8, Members: []btf.Member{M("a", U32), M("", &btf.Union{Size: 4})}}, "v.(anonymous): struct s: is at offset 0, within what comes before it"},
		{"overlapping bit-fields", &btf.Struct{Name: "s", Size: 4, Members: []btf.Member{{Name: "a", Type: U32, BitfieldSize: 3}, {Name: "b", Type: U32, Offset: 2, BitfieldSize: 3}}}, "v.b: unsigned int: is at offset 0, within"},
		{"bit-field of a pointer", &btf.Struct{Name: "s", Size: 8, Members: []btf.Member{{Name: "b", Type: Ptr(U8), BitfieldSize: 3}}}, "v.b: unsigned char *: is not the type of a bit-field of 3 bits"},
		{"bit-field of a float", &btf.Struct{Name: "s", Size: 8, Members: []btf.Member{{Name: "b", Type: Typedef("f", F64), BitfieldSize: 3}}}, "v.b: f: is not the type of a bit-field"},
		{"bit-field that is too wide", &btf.Struct{Name: "s", Size: 8, Members: []btf.Member{{Name: "b", Type: U32, BitfieldSize: 33}}}, "v.b: unsigned int: is not the type of a bit-field of 33 bits"},
		{"bit-field that is wider than Go's integers", &btf.Struct{Name: "s", Size: 16, Members: []btf.Member{{Name: "b", Type: S128, BitfieldSize: 65}}}, "v.b: __int128: is a bit-field of 65 bits, wider than 64 bits: make it two"},
		{"bit-field that is wider than its type", &btf.Struct{Name: "s", Size: 17, Members: []btf.Member{{Name: "b", Type: S128, BitfieldSize: 129}}}, "v.b: __int128: is not the type of a bit-field of 129 bits"},
		{"bit-field beyond the struct", &btf.Struct{Name: "s", Size: 4, Members: []btf.Member{{Name: "b", Type: U32, Offset: 24, BitfieldSize: 9}}}, "v: struct s: has 4 bytes, fewer than its members"},
		{"struct in itself", loop, "v.again[]: struct loop: contains itself"},
		{"endless qualifiers", qualifiers, "is nested too deep"},
		{"endless typedef", typedefs, "is nested too deep"},
		{"endless array", arrays, "is nested too deep"},
		{"deep", deep, "is nested too deep"},
		{"wrong at the end of many ways", doubled, "a.a: i: an integer of 3 bytes"},
		{"function of itself", proto, "): is not the type of a variable"},
		{"name of many lines", &btf.Fwd{Name: "a\nb"}, `v: struct "a\nb": is declared`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src, err := declare(tt.typ)
			if err == nil {
				t.Fatalf("no error: %s", src)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, want %q", err, tt.want)
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Errorf("%T is no *Error", err)
			}
			if len(err.Error()) > 1000 || strings.Contains(err.Error(), "\n") {
				t.Errorf("is not a line to read: %q", err)
			}
		})
	}
}

// What has no bytes is looked at once, however often it is used.
func TestManyEmptyStructs(t *testing.T) {
	empty := Struct("empty")
	for range 60 {
		empty = &btf.Struct{Name: "empty", Members: []btf.Member{M("a", empty), M("b", Array(Const(empty), 2))}}
	}
	src, err := declare(&btf.Struct{Name: "s", Size: 4, Members: []btf.Member{M("a", empty), M("n", U32)}})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(src), "Empty") {
		t.Errorf("declares what has no bytes:\n%s", src)
	}
}

func TestSectionErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		size uint64
		vars []Variable
		want string
	}{
		{"size", 8, []Variable{{Name: "v", Offset: 0, Size: 8, Type: U32}}, "v: unsigned int: has 4 bytes, and the variable has 8"},
		{"overlap", 8, []Variable{{Name: "a", Offset: 0, Size: 4, Type: U32}, {Name: "v", Offset: 2, Size: 4, Type: U32}}, "v: unsigned int: is at offset 2, within what comes before it"},
		{"size without a variable", 8, []Variable{{Name: "v", Offset: 0, Size: 0, Type: U32}}, "v: unsigned int: has 4 bytes, and the variable has 0"},
		{"end", 4, []Variable{{Name: "v", Offset: 0, Size: 8, Type: U64}}, "Bss: section: has 4 bytes, fewer than its variables"},
		{"all of them", 16, []Variable{{Name: "v", Offset: 0, Size: 4, Type: fwd}, {Name: "w", Offset: 8, Size: 4, Type: fwd}}, "v: struct f: is declared and never defined\nw: struct f: is declared and never defined"},
		{"the same again", 16, []Variable{{Name: "v", Offset: 0, Size: 4, Type: bad}, {Name: "w", Offset: 4, Size: 4, Type: bad}}, "v.b: struct f: is declared and never defined\nw.b: struct f: is declared and never defined"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := NewDecls(gonames.NewScope())
			err := errors.Join(d.Section("Bss", ".bss", "a section", tt.size, tt.vars)...)
			if err == nil || err.Error() != tt.want && !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

var (
	fwd = &btf.Fwd{Name: "f"}
	bad = &btf.Struct{Name: "bad", Size: 4, Members: []btf.Member{M("b", fwd)}}
)

// A section ends with its last variable, and its struct where Go ends it.
func TestSectionSize(t *testing.T) {
	for _, tt := range []struct {
		size uint64
		vars []Variable
		want uint64
	}{
		{8, []Variable{{Name: "v", Offset: 0, Size: 8, Type: U64}}, 8},
		{12, []Variable{{Name: "v", Offset: 0, Size: 8, Type: U64}, {Name: "w", Offset: 8, Size: 4, Type: U32}}, 16},
		{9, []Variable{{Name: "v", Offset: 0, Size: 8, Type: U64}, {Name: "w", Offset: 8, Size: 1, Type: U8}}, 16},
		{5, []Variable{{Name: "v", Offset: 0, Size: 4, Type: U32}, {Name: "w", Offset: 4, Size: 1, Type: U8}}, 8},
		{3, []Variable{{Name: "v", Offset: 0, Size: 3, Type: Array(U8, 3)}}, 3},
		{20, []Variable{{Name: "v", Offset: 8, Size: 4, Type: U32}}, 20},
		{1 << 30, []Variable{{Name: "v", Offset: 0, Size: 1 << 30, Type: Array(U64, 1<<27)}}, 1 << 30},
	} {
		d := NewDecls(gonames.NewScope())
		if errs := d.Section("Bss", ".bss", "a section", tt.size, tt.vars); errs != nil {
			t.Error(errs)
		}
		if got := d.list[0].Size(); got != tt.want {
			t.Errorf("section of %d bytes with %v: got %d, want %d", tt.size, tt.vars, got, tt.want)
		}
	}
}

// A C type has one declaration, and one that is used first comes first.
func TestDeclsShareTypes(t *testing.T) {
	mode := Enum("mode", V("OFF", 0))
	point := Struct("point", M("x", U32), M("mode", mode))
	anonymous := Struct("", M("p", point))
	other := Struct("point", M("y", U64))
	d := settled(func(d *Decls) {
		for _, section := range []string{"Data", "Bss"} {
			if errs := d.Section(section, ".bss", "a section", 40, []Variable{
				{Name: "a", Offset: 0, Size: 8, Type: anonymous},
				{Name: "b", Offset: 8, Size: 8, Type: anonymous},
				{Name: "p", Offset: 16, Size: 8, Type: Const(point)},
				{Name: "other", Offset: 24, Size: 8, Type: other},
				{Name: "mode", Offset: 32, Size: 4, Type: mode},
			}); errs != nil {
				t.Fatal(errs)
			}
		}
	}, "Data", "Bss")
	var got []string
	for _, decl := range d.list {
		got = append(got, decl.String())
	}
	if got, want := strings.Join(got, " "), "Data DataA Struct_C_point_d60d8613 Mode Struct_C_point_8052eafb Bss"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestComment(t *testing.T) {
	for _, tt := range []struct{ c, want string }{
		{"counter", "counter"},
		{"größe", "größe"},
		{".data.x", ".data.x"},
		{"", ""},
		{"a b", "a b"},
		{"a\nb", `"a\nb"`},
		{"a\rb", `"a\rb"`},
		{"*/", "*/"},
		{"\ufeff", `"\ufeff"`},
		{"\u2028", `"\u2028"`},
		{"a\xffb", `"a\xffb"`},
		{"\x00", `"\x00"`},
	} {
		if got := quote.Text(tt.c); got != tt.want {
			t.Errorf("quote.Text(%q) = %s, want %s", tt.c, got, tt.want)
		}
	}
}
