package core

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
)

// minimalOf returns the minimal types, in which every relocation comes to the same.
func minimalOf(t *testing.T, local, kernel *rawbtf.Types, relos ...Relocation) *rawbtf.Types {
	t.Helper()
	data, err := Minimal(kernel, []Object{{local, relos}})
	if err != nil {
		t.Fatal(err)
	}
	least, err := rawbtf.Parse(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	whole, part := New(local, Only(kernel), relos), New(local, Only(least), relos)
	for _, relo := range relos {
		if err := Same(relo, whole, part); err != nil {
			t.Error(err)
		}
	}
	return least
}

// describeTypes lists types by kind, name, and the members or values that they have.
func describeTypes(types *rawbtf.Types) string {
	var all []string
	for id := types.First(); id < types.Len(); id++ {
		typ := types.At(id)
		text := typ.Kind().String() + " " + typ.Name()
		for i := range typ.Vlen() {
			switch {
			case typ.Kind().IsComposite():
				text += " ." + typ.Member(i).Name
			case typ.Kind().IsEnum():
				name, _ := typ.Value(i)
				text += " =" + name
			}
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}

func TestMinimal(t *testing.T) {
	big := structOf("big", btf.Member{Name: "far", Type: u64}, btf.Member{Name: "away", Type: u64})
	inner := &btf.Union{Size: 8, Members: []btf.Member{{Name: "a", Type: i32}, {Name: "c", Type: u64}}}
	kernel := structOf("s", btf.Member{Name: "first", Type: u64}, btf.Member{Type: inner}, btf.Member{Name: "b", Type: &btf.Pointer{Target: big}},
		btf.Member{Name: "e", Type: &btf.Enum{Name: "e", Size: 4, Values: []btf.EnumValue{{Name: "A", Value: 1}, {Name: "B", Value: 2}}}}, btf.Member{Name: "z", Type: i32})
	local := structOf("s", btf.Member{Name: "a", Type: i32}, btf.Member{Name: "b", Type: &btf.Pointer{Target: big}})
	function := &btf.Typedef{Name: "f", Type: &btf.Pointer{Target: &btf.FuncProto{Return: i32, Params: []btf.FuncParam{{Type: &btf.Pointer{Target: kernel}}}}}}
	enum := &btf.Enum{Name: "e", Size: 4, Values: []btf.EnumValue{{Name: "B", Value: 7}}}
	none := &btf.Array{Index: u32, Type: i32}
	middle := structOf("m", btf.Member{Name: "v", Type: none}, btf.Member{Name: "y", Type: u64}, btf.Member{Name: "z", Type: i32})
	foo := structOf("foo", btf.Member{Name: "x", Type: i32})
	fooT := &btf.Typedef{Name: "foo_t", Type: foo}
	twice := structOf("twice", btf.Member{Name: "p", Type: &btf.Pointer{Target: fooT}}, btf.Member{Name: "f", Type: fooT})
	for name, c := range map[string]struct {
		local btf.Type
		relos []Relocation
		want  string
	}{
		"a member in an anonymous union":     {local, []Relocation{{FieldByteOffset, 1, "0:0"}}, "struct s .; union  .a; integer int"},
		"a pointer without what it leads to": {local, []Relocation{{FieldByteOffset, 1, "0:1"}, {FieldByteSize, 1, "0:1"}}, "struct s .b; pointer "},
		"the type alone":                     {local, []Relocation{{TypeSize, 1, "0"}, {TypeExists, 1, "0"}, {TypeIDTarget, 1, "0"}}, "struct s"},
		"all of a type":                      {local, []Relocation{{TypeMatches, 1, "0"}}, ""},
		"a value":                            {enum, []Relocation{{EnumValue, 1, "0"}}, "enum e =B"},
		"a prototype":                        {function, []Relocation{{TypeExists, 1, "0"}}, "typedef f; pointer ; function type ; pointer ; struct s; integer int"},
		"a function that matches":            {function, []Relocation{{TypeMatches, 1, "0"}}, "typedef f; pointer ; function type ; pointer ; struct s; integer int"},
		"nothing that the kernel has":        {structOf("gone", btf.Member{Name: "a", Type: i32}), []Relocation{{FieldExists, 1, "0:0"}, {TypeExists, 1, "0"}}, ""},
		"an array that is not the last":      {structOf("m", btf.Member{Name: "v", Type: none}), []Relocation{{FieldByteOffset, 1, "0:0"}, {FieldExists, 1, "0:0:2"}}, "struct m .v .z; array ; integer int; integer unsigned int"},
		"behind a pointer, and not":          {twice, []Relocation{{TypeMatches, 1, "0"}}, "struct twice .p .f; pointer ; typedef foo_t; struct foo .x; integer int"},
		"what is the object's own":           {local, []Relocation{{TypeIDLocal, 1, "0"}}, ""},
		"no relocations":                     {local, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			sortedKinds := func(text string) string { return strings.Join(slices.Sorted(strings.SplitSeq(text, "; ")), "; ") }
			least := minimalOf(t, raw(t, c.local), raw(t, kernel, big, function, middle, twice), c.relos...)
			if got := describeTypes(least); sortedKinds(got) != sortedKinds(c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestMinimalErrors(t *testing.T) {
	local := structOf("s", btf.Member{Name: "a", Type: i32})
	for _, tt := range []struct {
		relo Relocation
		want string
	}{
		{Relocation{FieldByteOffset, 1, "0:9"}, "struct s: is damaged"},
		{Relocation{99, 1, "0:0"}, "struct s: is of kind 99"},
	} {
		if _, err := Minimal(raw(t, local), []Object{{raw(t, local), []Relocation{tt.relo}}}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v, want %q", tt.relo, err, tt.want)
		}
	}
}

// What differs is said.
func TestSame(t *testing.T) {
	i64 := &btf.Int{Name: "long", Size: 8, Encoding: btf.Signed}
	with := func(b btf.Type) *rawbtf.Types {
		return raw(t, structOf("s", btf.Member{Name: "a", Type: u64}, btf.Member{Name: "b", Type: b}))
	}
	later := raw(t, structOf("s", btf.Member{Name: "b", Type: u32}))
	for name, c := range map[string]struct {
		local, one, other *rawbtf.Types
		want              string
	}{
		"the same":     {with(i32), with(i32), with(i32), ""},
		"the offset":   {with(u32), with(u32), later, "field b of struct s is 8 in one, and 0 in the other"},
		"is gone":      {with(u32), with(u32), raw(t, structOf("s", btf.Member{Name: "a", Type: u64})), "field b of struct s is 8 in one, and missing in the other"},
		"the size":     {with(u32), with(u32), with(u64), "field b of struct s is 8 with 4 bytes in one, and 8 with 8 bytes in the other"},
		"is misread":   {with(i32), with(i32), with(u64), "field b of struct s is 8 with 4 bytes in one, and 8 with 8 bytes, which cannot be read as 4, in the other"},
		"the sign":     {with(u32), with(u64), with(i64), "field b of struct s is 8 with 8 bytes in one, and 8 with 8 bytes, which cannot be read as 4, in the other"},
		"is no matter": {with(i32), with(i32), with(u32), ""},
	} {
		relo, got := Relocation{FieldByteOffset, 1, "0:1"}, ""
		relos := []Relocation{relo}
		if err := Same(relo, New(c.local, Only(c.one), relos), New(c.local, Only(c.other), relos)); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// Whatever is asked of the running kernel's types, the least of them say the same.
func TestMinimalOfKernel(t *testing.T) {
	data, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		t.Skipf("needs the BTF of the kernel (5.4): %v", err)
	}
	kernel, err := rawbtf.New(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		// The kernel's own types are the object's.
		var relos []Relocation
		for len(relos) < 40 {
			id := kernel.First() + r.Uint32N(kernel.Len()-kernel.First())
			typ := kernel.At(id)
			kind := Kind(r.IntN(int(TypeMatches) + 1))
			access := "0"
			switch {
			case typ.Name() == "" || typ.Kind() == rawbtf.Func || typ.Kind() == rawbtf.Var || typ.Kind() == rawbtf.Datasec || typ.Kind() == rawbtf.DeclTag || typ.Kind() == rawbtf.TypeTag:
				continue
			case kind.ofEnum():
				if !typ.Kind().IsEnum() || typ.Vlen() == 0 {
					continue
				}
				access = strconv.Itoa(r.IntN(typ.Vlen()))
			case kind.ofField():
				if !typ.Kind().IsComposite() || typ.Vlen() == 0 {
					continue
				}
				access = "0:" + strconv.Itoa(r.IntN(typ.Vlen()))
			}
			relos = append(relos, Relocation{kind, id, access})
		}
		least := minimalOf(t, kernel, kernel, relos...)
		if n := least.Len(); n > kernel.Len()/10 {
			t.Errorf("%d types are kept", n)
		}
	}
}
