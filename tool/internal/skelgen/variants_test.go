package skelgen_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/goldens"
	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/imagegen"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
	"github.com/rules-bpf/rules_bpf/tool/internal/skelgen"
)

// variantFile is what clang makes of testdata/variants.bpf.c.
func variantFile(kernel int) *File {
	verdict := Enum("verdict", V("VERDICT_PASS", 0))
	key := Struct("key", M("pid", u32), M("cpu", u32))
	event := Struct("event", M("when", u64), M("key", key))
	events := mapDecl(number("type", 4), number("key_size", 4), number("value_size", 4))
	onExit := "kprobe/do_exit"
	if kernel >= 510 {
		verdict.Values = append(verdict.Values, V("VERDICT_DROP", 1))
		events = mapDecl(number("type", 27), number("max_entries", 4096))
		onExit = "fentry/do_exit"
	}
	if kernel == 601 {
		event = Struct("event", M("when", u64), M("key", key), M("cgroup", u64))
	}
	f := &File{
		License: "GPL",
		Programs: []Program{
			{Name: "pass", Section: "xdp", Refs: []string{"counter", "limit", "LINUX_KERNEL_VERSION"}},
			{Name: "on_exit", Section: onExit, Refs: []string{"counter", "counts", "events", "latest"}},
		},
		Vars: []Var{
			{Section: ".kconfig", Extern: true, Name: "LINUX_KERNEL_VERSION", Type: U32},
			{Section: ".rodata", Name: "limit", Type: Const(Volatile(u32)), Value: le(uint32(5))},
			{Section: ".bss", Name: "counter", Type: u64},
			{Section: ".maps", Name: "counts", Type: Map(1, 16, key, u64)},
			{Section: ".maps", Name: "events", Type: events},
			{Section: ".maps", Name: "latest", Type: Map(2, 1, u32, Struct("sample", M("event", event), M("verdict", verdict)))},
		},
	}
	if kernel == 510 {
		f.Vars = append(f.Vars, Var{Section: ".maps", Name: "only510", Type: Map(1, 16, u32, u32)})
	}
	if kernel >= 510 {
		f.Vars = append(f.Vars,
			Var{Section: ".bss", Name: "last", Type: event},
			Var{Section: ".data.ranges", Name: "range", Type: Struct("", M("low", u32))},
		)
		section := "kprobe/do_init"
		if kernel == 510 {
			section += "_old"
		}
		f.Programs = append(f.Programs, Program{Name: "on_init", Section: section, Refs: []string{"counter", "last"}})
	}
	return f
}

// readVariant returns a variant of an object file.
func readVariant(t testing.TB, name, file string, data []byte) skelgen.Variant {
	t.Helper()
	obj, err := bpfobj.Read(file, data)
	if err != nil {
		t.Fatal(err)
	}
	img, err := imagegen.Build(file, data)
	if err != nil {
		t.Fatal(err)
	}
	return skelgen.Variant{Name: name, File: file, Object: obj, Image: img}
}

// threeVariants are those of testdata/variants.bpf.c.
func threeVariants(t testing.TB, build func(kernel int) []byte) []skelgen.Variant {
	var variants []skelgen.Variant
	for name, kernel := range map[string]int{"v54": 504, "v510": 510, "v61": 601} {
		variants = append(variants, readVariant(t, name, "variants.bpf.o", build(kernel)))
	}
	slices.SortFunc(variants, func(a, b skelgen.Variant) int {
		return slices.Index(kernels, a.Name) - slices.Index(kernels, b.Name)
	})
	return variants
}

var kernels = []string{"v54", "v510", "v61"}

func buildVariant(kernel int) []byte { return variantFile(kernel).Build() }

func generateVariants(t testing.TB, variants []skelgen.Variant, opts skelgen.Options) []byte {
	t.Helper()
	if opts.Package == "" {
		opts.Package = "variants"
	}
	src, err := skelgen.Variants(variants, opts)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func TestVariantsGolden(t *testing.T) {
	src := generateVariants(t, threeVariants(t, buildVariant), skelgen.Options{})
	checkSource(t, src)
	goldens.Check(t, filepath.Join("testdata", "variants.go.golden"), withoutObject(src))
	if again := generateVariants(t, threeVariants(t, buildVariant), skelgen.Options{}); string(again) != string(src) {
		t.Error("is not the same the second time")
	}
}

// As for TestClang.
func TestVariantsClang(t *testing.T) {
	clang, err := exec.LookPath("clang")
	if err != nil {
		t.Skip("needs clang on PATH")
	}
	src := generateVariants(t, threeVariants(t, func(kernel int) []byte {
		object := filepath.Join(t.TempDir(), "variants.bpf.o")
		cmd := exec.Command(clang, "-g", "-O2", "-mcpu=v3", "-target", "bpfel", "-w", fmt.Sprintf("-DKERNEL=%d", kernel), "-c", "testdata/variants.bpf.c", "-o", object)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		data, err := os.ReadFile(object)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}), skelgen.Options{})
	checkSource(t, src)
	for _, want := range []string{
		"EventsV54 *skeleton.PerfEventArray", "EventsV510 *skeleton.RingBuffer",
		"LatestV54 *skeleton.Map[uint32, SampleV54]", "LatestV61 *skeleton.Map[uint32, SampleV61]", "VerdictDrop Verdict = 1", "Counter *uint64", "LastV510 *EventV54", "LastV61 *EventV61", "Rodata *Rodata",
	} {
		if !strings.Contains(strings.Join(strings.Fields(string(src)), " "), want) {
			t.Errorf("%q is not in the source", want)
		}
	}
}

// Several objects with variants in one package, and subskeletons.
func TestVariantsOptions(t *testing.T) {
	variants := threeVariants(t, buildVariant)
	for _, opts := range []skelgen.Options{
		{Prefix: "bpf"},
		{Prefix: "Bpf", Types: []string{"sample", "enum verdict"}},
		{Subskeletons: []skelgen.Sub{{Name: "limiter", ImportPath: "example.com/limiter"}, {Name: "v", ImportPath: "example.com/v2/limiter"}}},
	} {
		src := generateVariants(t, variants, opts)
		checkSource(t, src)
		if opts.Prefix != "" && !strings.Contains(string(src), "type "+opts.Prefix+"EventV61 struct") {
			t.Errorf("prefix %s: no %sEventV61", opts.Prefix, opts.Prefix)
		}
	}
}

// What is equal in all variants is as in a package without variants.
func TestEqualVariants(t *testing.T) {
	for name, file := range golden {
		t.Run(name, func(t *testing.T) {
			// Each has its own C types.
			data := file.Build()
			src := string(generateVariants(t, []skelgen.Variant{readVariant(t, "a", "x.bpf.o", data), readVariant(t, "b", "x.bpf.o", data)}, skelgen.Options{}))
			checkSource(t, []byte(src))
			if strings.Contains(src, "Only:") || strings.Contains(src, "Apart:") {
				t.Errorf("something differs:\n%s", withoutObject([]byte(src)))
			}
			alone := readVariant(t, "", "x.bpf.o", data)
			want, err := skelgen.Skeleton(alone.Object, alone.Image, skelgen.Options{Package: "variants"})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := declared(src), declared(string(want)); !slices.Equal(got, want) {
				t.Errorf("declares\n%q\nand without variants\n%q", got, want)
			}
		})
	}
}

// declared returns the types that a source declares and their fields, but for the type of
// variants.
func declared(src string) []string {
	var lines []string
	for line := range strings.Lines(src) {
		if strings.HasPrefix(line, "type ") && !strings.HasPrefix(line, "type Variant ") || strings.HasPrefix(line, "\t") && strings.Contains(line, " // ") && !strings.HasPrefix(line, "\t// ") {
			if !strings.HasSuffix(line, " // a\n") && !strings.HasSuffix(line, " // b\n") {
				lines = append(lines, strings.Join(strings.Fields(line), " "))
			}
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// Everything that can differ, at once.
func TestUnequalVariants(t *testing.T) {
	names := make([]string, 0, len(golden))
	var variants []skelgen.Variant
	for name := range golden {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		variants = append(variants, readVariant(t, "of_"+name, name+".bpf.o", golden[name].Build()))
	}
	checkSource(t, generateVariants(t, variants, skelgen.Options{}))
	slices.Reverse(variants)
	checkSource(t, generateVariants(t, variants, skelgen.Options{Prefix: "bpf"}))
}

// Tables of programs with other members, types without names, constants with other values.
func TestVariantsOfTypes(t *testing.T) {
	file := func(extra bool) []byte {
		members := []btf.Member{M("select", Ptr(&btf.FuncProto{Return: S32})), M("weight", S32)}
		anonymous := Struct("", M("a", U32))
		mode := Enum("mode", V("MODE_ON", 1))
		signed := &btf.Enum{Name: "level", Size: 4, Signed: extra, Values: []btf.EnumValue{V("LEVEL_ONE", 1)}}
		id := Typedef("id", U32)
		if extra {
			members = append(members, M("more", U32))
			anonymous = Struct("", M("a", U32), M("b", U32))
			mode = Enum("mode", V("MODE_ON", 2))
			id = Typedef("id", U64)
		}
		return (&File{
			License:  "GPL",
			Programs: []Program{{Name: "pick", Section: "struct_ops/pick"}, {Name: "other", Section: "kprobe/x"}},
			Vars: []Var{
				{Section: ".struct_ops.link", Name: "fair", Type: Struct("ops", members...), Refs: []Ref{{Offset: 0, Name: "pick"}}},
				{Section: ".data", Name: "cfg", Type: anonymous, Value: le(uint32(1))},
				{Section: ".data", Name: "mode", Type: mode, Value: le(uint32(1))},
				{Section: ".data", Name: "id", Type: id, Value: le(uint32(1))},
				{Section: ".data", Name: "level", Type: signed, Value: le(uint32(1))},
				{Section: ".data", Name: "plain", Type: U16, Value: le(uint16(1))},
			},
		}).Build()
	}
	src := string(generateVariants(t, []skelgen.Variant{
		readVariant(t, "old", "x.bpf.o", file(false)), readVariant(t, "new", "x.bpf.o", file(true)), readVariant(t, "newest", "x.bpf.o", file(true)),
	}, skelgen.Options{}))
	checkSource(t, []byte(src))
	flat := strings.Join(strings.Fields(src), " ")
	for _, want := range []string{
		"FairOld *OpsOld // fair, SEC(\".struct_ops.link\"), in old only", "FairNew *OpsNew // fair, SEC(\".struct_ops.link\"), nil in old",
		"CfgOld *DataCfgOld", "CfgNew *DataCfgNew", "ModeOld *ModeOld", "ModeOnOld ModeOld = 1", "ModeOnNew ModeNew = 2",
		"LevelOld *LevelOld", "LevelOneOld LevelOld = 1", "LevelOneNew LevelNew = 1", "IdOld *IdOld", "IdNew *IdNew", "Plain *uint16 // plain }",
	} {
		if !strings.Contains(flat, want) {
			t.Errorf("%q is not in\n%s", want, withoutObject([]byte(src)))
		}
	}
}

// The images are those of the variants, and take little more than one.
func TestVariantsImages(t *testing.T) {
	variants := threeVariants(t, buildVariant)
	set := objectOf(t, generateVariants(t, variants, skelgen.Options{}))
	total := 0
	for i, v := range variants {
		want, err := v.Image.Encode()
		if err != nil {
			t.Fatal(err)
		}
		total += len(want)
		if got, err := image.Variant(set, i); err != nil || got != string(want) {
			t.Errorf("%s: the image is another, or: %v", v.Name, err)
		}
	}
	if len(set)*3 > total*2 {
		t.Errorf("%d bytes for images of %d", len(set), total)
	}
}

func TestVariantsErrors(t *testing.T) {
	plain := readVariant(t, "a", "x.bpf.o", minimalFile.Build())
	named := func(name string) skelgen.Variant {
		v := plain
		v.Name = name
		return v
	}
	bigFile := *minimalFile
	bigFile.Order = binary.BigEndian
	odd := readVariant(t, "odd", "x.bpf.o", (&File{
		Programs: []Program{{Name: "prog", Section: "xdp"}},
		Vars:     []Var{{Section: ".data", Name: "strange", Type: &btf.Int{Name: "odd", Size: 3}}, {Section: ".data", Name: "fine", Type: U32}},
	}).Build())
	for _, tt := range []struct {
		name     string
		variants []skelgen.Variant
		opts     skelgen.Options
		want     string
	}{
		{"none", nil, skelgen.Options{}, "no variant is given"},
		{"no identifier", []skelgen.Variant{named("6.1")}, skelgen.Options{}, `variant "6.1": is not a name from which Go names can be made: use letters`},
		{"keyword", []skelgen.Variant{named("type")}, skelgen.Options{}, `variant "type": is not a name`},
		{"blank", []skelgen.Variant{named("_")}, skelgen.Options{}, `variant "_": is not a name`},
		{"twice", []skelgen.Variant{plain, plain}, skelgen.Options{}, "variant a: is A in Go, which is variant a too: give it another name"},
		{"one Go name", []skelgen.Variant{named("v6_1"), named("v61")}, skelgen.Options{}, "variant v61: is V61 in Go, which is variant v6_1 too"},
		{"API", []skelgen.Variant{named("open")}, skelgen.Options{}, "variant open: is Open in Go, which is the name of a part of the package too"},
		{"byte order", []skelgen.Variant{plain, readVariant(t, "b", "x.bpf.o", bigFile.Build())}, skelgen.Options{}, "x.bpf.o: variant b: has another byte order than variant a"},
		{"variable", []skelgen.Variant{plain, odd}, skelgen.Options{}, "x.bpf.o: variant odd: strange: odd: an integer of 3 bytes is not supported: change its type, or declare"},
		{"type", []skelgen.Variant{plain, named("b")}, skelgen.Options{Types: []string{"nothing"}}, "x.bpf.o: type nothing: is not in the object's BTF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.opts.Package = "x"
			_, err := skelgen.Variants(tt.variants, tt.opts)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}
