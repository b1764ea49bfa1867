package skelgen_test

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/format"
	"go/parser"
	"go/token"
	"go/types"
	"strings"
	"sync"
	"testing"
)

// The architectures that differ in what they align: amd64, arm64 and riscv64 by
// 8 bytes at most, 386 and arm by 4, s390x with the bytes the other way round.
var arches = []string{"amd64", "386", "arm", "arm64", "s390x", "riscv64"}

// stubs are the packages that generated code imports, without bodies: enough for
// the type checker, and all that generated code may use of them.
var stubs = map[string]string{
	"structs": `package structs
type HostLayout struct{ _ hostLayout }
type hostLayout struct{}
`,
	"github.com/cilium/ebpf/link": `package link
type Link interface{ Close() error }
`,
	"github.com/rules-bpf/rules_bpf/runtime/skeleton": `package skeleton
import "github.com/cilium/ebpf/link"
const MinVersion, MaxVersion = 3, 4
type EnforceVersion uint
type Object struct{}
func (*Object) Load() error
func (*Object) Attach() error
func (*Object) Detach() error
func (*Object) Close() error
type UntypedMap struct{}
type Pointer uint64
type Int128 struct{ words [2]uint64 }
type Uint128 struct{ words [2]uint64 }
func UnknownEnum[T ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64](name string, value T) string { panic("") }
func (m *UntypedMap) handle() *UntypedMap { return m }
type Map[K, V any] struct{ UntypedMap }
type PerCPUMap[K, V any] struct{ UntypedMap }
type Queue[V any] struct{ UntypedMap }
type MapOfMaps[K, M any] struct{ UntypedMap }
type RingBuffer struct{ UntypedMap }
type PerfEventArray struct{ UntypedMap }
type StorageMap[V any] struct{ UntypedMap }
type BloomFilter[V any] struct{ UntypedMap }
type ProgArray struct{ UntypedMap }
type UserRingBuffer struct{ UntypedMap }
type Program struct{}
type MapDesc struct{}
func MapField[M any, P interface{ *M; handle() *UntypedMap }](name string, field **M) MapDesc { panic("") }
type StructOpsMap struct{ UntypedMap }
type StructOpsFunc struct { Name string; Offset uintptr; Prog string }
type StructOpsMapDesc struct { Name, Section, Contents string; Map **StructOpsMap; Link *link.Link; Funcs []StructOpsFunc }
type StructOpsDesc struct{}
func StructOps[T any](field **T, desc StructOpsMapDesc) StructOpsDesc { panic("") }
func (*Program) wrap(*Program) *Program { panic("") }
type ProgDesc struct{}
func ProgField[H any, P interface{ *H; wrap(*Program) *H }](name string, field **H, slot *link.Link) ProgDesc { panic("") }
type SectionDesc struct{}
func Section[T any](name string, field **T) SectionDesc { panic("") }
type KconfigKind int
const ( KconfigInt KconfigKind = iota + 1; KconfigBool; KconfigTristate; KconfigChar; KconfigString )
type KconfigVar struct { Name string; Offset, Size int; Kind KconfigKind; Signed, Weak bool }
func Kconfig[T any](name string, field **T, vars []KconfigVar) SectionDesc { panic("") }
type Desc struct { Name, ELF string; Maps []MapDesc; Progs []ProgDesc; Sections []SectionDesc; StructOps []StructOpsDesc }
func Open(Desc) (*Object, error)
type Any interface{ object() *Object }
func (o *Object) object() *Object { return o }
type MismatchError struct{}
type LibraryProgDesc struct{}
func LibraryProg[H any, P interface{ *H; wrap(*Program) *H }](name, section string, field **H, slot **link.Link) LibraryProgDesc { panic("") }
type LibraryStructOpsDesc struct{}
func LibraryStructOps[T any](name string, field **T, handle **StructOpsMap, slot **link.Link) LibraryStructOpsDesc { panic("") }
type VarDesc struct{}
func Variable[T any](name string, field **T) VarDesc { panic("") }
type LibraryDesc struct { Name, Library string; Maps []MapDesc; Progs []LibraryProgDesc; StructOps []LibraryStructOpsDesc; Vars []VarDesc }
func OpenLibrary(Any, LibraryDesc) error
` + programStubs(),
	"example.com/limiter": `package other_name
import "github.com/rules-bpf/rules_bpf/runtime/skeleton"
type Subskeleton struct{}
func Open(skeleton.Any) (*Subskeleton, error)
`,
	"example.com/v2/limiter": `package limiter
import "github.com/rules-bpf/rules_bpf/runtime/skeleton"
type Subskeleton struct{}
func Open(skeleton.Any) (*Subskeleton, error)
`,
}

// programStubs are the handles for programs of certain kinds.
func programStubs() string {
	var b strings.Builder
	for _, h := range []string{
		"Kprobe", "KprobeMulti", "SyscallProbe", "Uprobe", "UprobeMulti", "USDT", "Tracepoint", "RawTracepoint", "Tracing", "Iter", "XDP",
		"TCX", "TC", "Netkit", "Cgroup", "CgroupSKB", "Socket", "Reuseport", "NetNS", "SockMap", "PerfEvent", "Netfilter",
	} {
		fmt.Fprintf(&b, "type %[1]sProgram struct{ Program }\nfunc (*%[1]sProgram) wrap(*Program) *%[1]sProgram { panic(\"\") }\n", h)
	}
	return b.String()
}

// importer type-checks stubs. Its results are shared between tests.
type importer struct {
	mu       sync.Mutex
	packages map[string]*types.Package
}

var stubImporter = &importer{packages: map[string]*types.Package{"unsafe": types.Unsafe}}

func (i *importer) Import(path string) (*types.Package, error) {
	if pkg := i.packages[path]; pkg != nil {
		return pkg, nil
	}
	src, ok := stubs[path]
	if !ok {
		return nil, fmt.Errorf("generated code must not import %s", path)
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, src, 0)
	if err != nil {
		return nil, err
	}
	conf := types.Config{Importer: i, IgnoreFuncBodies: true}
	pkg, err := conf.Check(path, fset, []*ast.File{file}, nil)
	if err != nil {
		return nil, fmt.Errorf("stub of %s: %w", path, err)
	}
	i.packages[path] = pkg
	return pkg, nil
}

// typeCheck says whether src compiles for the architecture. The assertions of
// sizes and offsets are constants, so a wrong one is an error here.
func typeCheck(src []byte, arch string) error {
	_, err := check(src, arch)
	return err
}

// objectOf returns the object that the source carries.
func objectOf(t *testing.T, src []byte) string {
	t.Helper()
	pkg, err := check(src, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	return constant.StringVal(pkg.Scope().Lookup("object").(*types.Const).Val())
}

func check(src []byte, arch string) (*types.Package, error) {
	stubImporter.mu.Lock()
	defer stubImporter.mu.Unlock()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "skeleton.go", src, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	var errs []error
	conf := types.Config{
		Importer: stubImporter,
		Sizes:    types.SizesFor("gc", arch),
		Error:    func(err error) { errs = append(errs, err) },
	}
	// The errors are those that were collected.
	pkg, _ := conf.Check("generated", fset, []*ast.File{file}, nil)
	return pkg, errors.Join(errs...)
}

func TestTypeCheck(t *testing.T) {
	for name, file := range golden {
		t.Run(name, func(t *testing.T) {
			checkSource(t, generate(t, name, name+".bpf.o", file.Build()))
		})
	}
}

func TestTypeCheckSubskeleton(t *testing.T) {
	for name, file := range golden {
		t.Run(name, func(t *testing.T) {
			checkSource(t, generateSub(t, name, name+".bpf.o", file.Build()))
		})
	}
	for name, file := range goldenSub {
		t.Run(name, func(t *testing.T) {
			checkSource(t, generateSub(t, name, name+".bpf.o", file.Build()))
		})
	}
}

// checkSource makes sure that the source compiles and is in gofmt's form.
func checkSource(t *testing.T, src []byte) {
	t.Helper()
	for _, arch := range arches {
		if err := typeCheck(src, arch); err != nil {
			t.Errorf("%s: %v", arch, err)
		}
	}
	formatted, err := format.Source(src)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(formatted, src) {
		t.Error("is not in gofmt's form")
	}
}

// A layout that is not C's must not compile, on any architecture.
func TestWrongLayoutDoesNotCompile(t *testing.T) {
	src := string(generate(t, "types", "types.bpf.o", typesFile.Build()))
	for _, tt := range []struct{ name, old, new string }{
		{"field too small", "F64 ", "F64 float32 //"},
		{"field too large", "S16 ", "S16 int32 //"},
		{"array too short", "Matrix ", "Matrix [1][3][4]int32 //"},
		{"gap missing", "\t_ [31]byte\n", "\n"},
		{"gap too large", "\t_ [31]byte\n", "\t_ [32]byte\n"},
		{"gap at the front", "\tX int16 // x\n", "\t_ byte\n\tX int16\n"},
		{"fields swapped", "\tA Point // a\n\tB Point // b\n", "\tB Point\n\tA Point\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wrong := strings.Replace(src, tt.old, tt.new, 1)
			if wrong == src {
				t.Fatalf("%q is not in the source", tt.old)
			}
			for _, arch := range arches {
				if err := typeCheck([]byte(wrong), arch); err == nil {
					t.Errorf("%s: compiles", arch)
				}
			}
		})
	}
}

// Generated code for another contract must not compile.
func TestWrongVersionDoesNotCompile(t *testing.T) {
	src := generate(t, "minimal", "minimal.bpf.o", minimalFile.Build())
	for _, version := range []string{"2", "5"} {
		wrong := bytes.ReplaceAll(src, []byte("EnforceVersion(3 -"), []byte("EnforceVersion("+version+" -"))
		wrong = bytes.ReplaceAll(wrong, []byte("MaxVersion - 3)"), []byte("MaxVersion - "+version+")"))
		if err := typeCheck(wrong, "amd64"); err == nil {
			t.Errorf("version %s compiles", version)
		}
	}
}
