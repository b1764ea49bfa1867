package skelgen_test

import (
	"bytes"
	"debug/elf"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/goldens"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/imagegen"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
	"github.com/rules-bpf/rules_bpf/tool/internal/skelgen"
)

// The files are what clang makes of the C files in testdata, like those of golden.
var goldenSub = map[string]*File{
	"library": libraryFile,
	"bare":    {Programs: []Program{{Name: "helper", Section: ".text"}}},
}

var (
	limit = Struct("limit", M("per_second", U32), M("burst", U64))
	usage = Struct("usage", M("allowed", U64), M("refused", U64))

	policyOps = Struct("policy_ops", M("pick", function), M("weight", U32))

	libraryFile = &File{
		Programs: []Program{
			{Name: "pick", Section: "struct_ops/pick"},
			{Name: "watch", Section: "raw_tp/sys_enter", Refs: []string{"app_counts", "app_id", "app_extra", "calls", "usage", "LINUX_KERNEL_VERSION", "private"}},
		},
		Vars: []Var{
			{Section: ".rodata", Name: "default_limit", Type: Const(Volatile(limit)), Value: le(uint32(2))},
			{Section: ".data", Name: "limit", Type: limit, Value: le(uint32(3))},
			{Section: ".data", Name: "mode", Type: S32, Weak: true, Value: le(int32(1))},
			{Section: ".data", Name: "private", Type: Volatile(S32), Static: true},
			{Section: ".data", Name: "internal", Type: S32, Visibility: elf.STV_HIDDEN},
			{Section: ".bss", Name: "calls", Type: S32},
			{Section: ".bss", Name: "history", Type: Array(U64, 8)},
			{Section: ".bss", Name: "pair", Type: Struct("", M("a", S32), M("b", S32))},
			{Section: ".bss", Name: "hook", Type: Ptr(&btf.FuncProto{Return: S32, Params: []btf.FuncParam{{Type: S32}}})},
			{Section: ".bss", Name: "Hook", Type: U32},
			{Section: ".data.custom", Name: "custom", Type: U32, Value: le(uint32(5))},
			{Section: ".data.custom", Name: "custom_limit", Type: U32, Value: le(uint32(6))},
			{Section: ".data.hidden", Name: "not_shown", Type: U32, Visibility: elf.STV_HIDDEN},
			{Section: ".addr_space.1", Name: "shared", Type: U64, Value: le(uint64(7))},
			{Section: ".addr_space.1", Name: "not_shared", Type: U64, Visibility: elf.STV_HIDDEN},
			{Section: ".struct_ops.link", Name: "policy", Type: policyOps, Value: le(uint64(0), uint32(3)), Refs: []Ref{{Offset: 0, Name: "pick"}}},
			// The names of a map and of a program.
			{Section: "?.struct_ops", Name: "Usage", Type: policyOps},
			{Section: "?.struct_ops", Name: "Watch", Type: policyOps},
			{Section: "?.struct_ops", Name: "own", Type: policyOps, Visibility: elf.STV_HIDDEN},
			{Section: ".maps", Name: "usage", Type: Map(1, 16, U32, usage)},
			{Section: ".maps", Name: "secret", Type: Map(1, 16, U32, U32), Visibility: elf.STV_HIDDEN},
			{Section: ".maps", Name: "app_counts", Type: Map(2, 4, U32, U64), Extern: true},
			{Section: ".maps", Name: "app_ring", Type: Map(27, 4096, nil, nil), Extern: true, Weak: true},
			{Name: "app_id", Type: S32, Extern: true},
			{Name: "app_extra", Type: Const(S32), Extern: true, Weak: true},
			{Name: "app_list", Type: Array(S32, 0), Extern: true},
			{Section: ".kconfig", Name: "LINUX_KERNEL_VERSION", Type: S32, Extern: true},
			{Section: ".kconfig", Name: "CONFIG_HZ", Type: S32, Extern: true, Weak: true},
			{Section: ".ksyms", Name: "bpf_prog_active", Type: S32, Extern: true},
		},
	}
)

// generateSub returns the subskeleton of an object file.
func generateSub(t testing.TB, pkg, name string, data []byte) []byte {
	t.Helper()
	lib, err := bpfobj.ReadLibrary(name, data)
	if err != nil {
		t.Fatal(err)
	}
	src, err := skelgen.Subskeleton(lib, skelgen.Options{Package: pkg})
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func TestGoldenSubskeleton(t *testing.T) {
	for name, file := range goldenSub {
		t.Run(name, func(t *testing.T) {
			src := generateSub(t, name, name+".bpf.o", file.Build())
			goldens.Check(t, filepath.Join("testdata", name+".go.golden"), src[:bytes.LastIndex(src, []byte("\n// library says "))])
		})
	}
}

// A skeleton opens the subskeletons of its libraries, whatever the names.
func TestSubskeletonFields(t *testing.T) {
	data := minimalFile.Build()
	obj, err := bpfobj.Read("minimal.bpf.o", data)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := imagegen.Build("x.bpf.o", data)
	if err != nil {
		t.Fatal(err)
	}
	subs := func(args ...string) (subs []skelgen.Sub) {
		for _, arg := range args {
			sub, err := skelgen.ParseSub(arg)
			if err != nil {
				t.Fatal(err)
			}
			subs = append(subs, sub)
		}
		return subs
	}
	for _, tt := range []struct{ names, want []string }{
		{[]string{"limiter", "rate-limit"}, []string{
			`limiter "example.com/limiter"`, `ratelimit "example.com/v2/limiter"`,
			"Limiter   *limiter.Subskeleton   // example.com/limiter", "RateLimit *ratelimit.Subskeleton // example.com/v2/limiter",
		}},
		// The same Go name.
		{[]string{"rate_limit", "rate-limit"}, []string{`examplecomlimiter "example.com/limiter"`, "ExampleComLimiter   *examplecomlimiter.Subskeleton", "ExampleComV2Limiter *examplecomv2limiter.Subskeleton"}},
		// Names that the file has already, and those that no package can have.
		{[]string{"skeleton", "obj"}, []string{"Skeleton *skeleton_.Subskeleton", "Obj      *obj_.Subskeleton"}},
		{[]string{"func", "int"}, []string{"Func *func_.Subskeleton", "Int  *int_.Subskeleton"}},
		{[]string{"2nd", "s"}, []string{"X2nd *x2nd.Subskeleton", "S    *s_.Subskeleton"}},
	} {
		t.Run(strings.Join(tt.names, " "), func(t *testing.T) {
			src, err := skelgen.Skeleton(obj, loaded, skelgen.Options{Package: "minimal", Subskeletons: subs(
				tt.names[0]+"=example.com/limiter", tt.names[1]+"=example.com/v2/limiter")})
			if err != nil {
				t.Fatal(err)
			}
			checkSource(t, src)
			for _, want := range tt.want {
				if !strings.Contains(string(src), want) {
					t.Errorf("%q is not in\n%s", want, withoutObject(src))
				}
			}
		})
	}
	if _, err := skelgen.Skeleton(obj, loaded, skelgen.Options{Package: "minimal", Subskeletons: subs("a=example.com/x", "b=example.com/x")}); err == nil || !strings.Contains(err.Error(), "example.com/x: the package is given twice") {
		t.Errorf("got %v", err)
	}
	for _, arg := range []string{"", "name", "=path", "name=", "name=a b", "name=a\"b", "name=a\\b", "name=a\nb", "name=\xff"} {
		if sub, err := skelgen.ParseSub(arg); err == nil {
			t.Errorf("ParseSub(%q) = %v, want an error", arg, sub)
		}
	}
}

// Errors name each variable, and what to do.
func TestSubskeletonErrors(t *testing.T) {
	odd := &btf.Int{Name: "odd", Size: 3}
	file := &File{Vars: []Var{
		{Section: ".bss", Name: "a", Type: odd},
		{Name: "b", Type: Array(odd, 2), Extern: true},
		{Section: ".kconfig", Name: "CONFIG_WIDE", Type: S128, Extern: true},
	}}
	for i, want := range []string{
		"CONFIG_WIDE: is not of a type that a Kconfig option can have: declare it as bool, enum libbpf_tristate",
		"a: odd: an integer of 3 bytes is not supported: change its type, or declare the variable static or __hidden\n",
	} {
		vars := *file
		if i > 0 {
			vars.Vars = vars.Vars[:2]
		}
		lib, err := bpfobj.ReadLibrary("library.o", vars.Build())
		if err == nil {
			_, err = skelgen.Subskeleton(lib, skelgen.Options{Package: "library"})
		}
		if err == nil || !strings.Contains(err.Error(), strings.TrimSuffix(want, "\n")) {
			t.Errorf("got %v, want %q", err, want)
		}
		if i > 0 && (err == nil || !strings.Contains(err.Error(), "b: []: odd: an integer of 3 bytes") && !strings.Contains(err.Error(), "b[]: odd: an integer of 3 bytes")) {
			t.Errorf("%v does not name b", err)
		}
	}
	lib, err := bpfobj.ReadLibrary("library.o", libraryFile.Build())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := skelgen.Subskeleton(lib, skelgen.Options{Package: "func"}); err == nil {
		t.Error("no error for a package called func")
	}
	if _, err := skelgen.Subskeleton(lib, skelgen.Options{Package: "library", Types: []string{"no_such"}}); err == nil || !strings.Contains(err.Error(), "type no_such: is not in the object's BTF") {
		t.Errorf("got %v", err)
	}
}
