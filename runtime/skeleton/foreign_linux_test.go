package skeleton

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/internal/subskel"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/binding"
)

var (
	foreignU32 = &btf.Int{Name: "unsigned int", Size: 4}
	foreignU64 = &btf.Int{Name: "unsigned long long", Size: 8}
)

// foreignSpec is an object with a library in it: a program that adds what map "limits" says to
// the variable "total".
func foreignSpec() *ebpf.CollectionSpec {
	variable := func(name string, linkage btf.VarLinkage, offset uint32) btf.VarSecinfo {
		return btf.VarSecinfo{Type: &btf.Var{Name: name, Type: foreignU64, Linkage: linkage}, Offset: offset, Size: 8}
	}
	bss := &btf.Datasec{Name: ".bss", Size: 16, Vars: []btf.VarSecinfo{variable("total", btf.GlobalVar, 0), variable("own", btf.StaticVar, 8)}}
	return &ebpf.CollectionSpec{
		ByteOrder: nativeOrder,
		Maps: map[string]*ebpf.MapSpec{
			".bss":   {Name: ".bss", Type: ebpf.Array, KeySize: 4, ValueSize: 16, MaxEntries: 1, Flags: 1 << 10, Key: &btf.Void{}, Value: bss},
			"limits": {Name: "limits", Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 4, Key: foreignU32, Value: foreignU64},
		},
		Programs: map[string]*ebpf.ProgramSpec{
			"add_limit_to_total": {Name: "add_limit_to_total", Type: ebpf.XDP, SectionName: "xdp", License: "GPL", Instructions: asm.Instructions{
				asm.Mov.Imm(asm.R2, 7),
				asm.StoreMem(asm.RFP, -4, asm.R2, asm.Word),
				asm.LoadMapPtr(asm.R1, 0).WithReference("limits"),
				asm.Mov.Reg(asm.R2, asm.RFP),
				asm.Add.Imm(asm.R2, -4),
				asm.FnMapLookupElem.Call(),
				asm.JEq.Imm(asm.R0, 0, "end"),
				asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
				asm.LoadMapValue(asm.R2, 0, 0).WithReference(".bss"),
				asm.StoreXAdd(asm.R2, asm.R1, asm.DWord),
				asm.Mov.Imm(asm.R0, 2).WithSymbol("end"),
				asm.Return(),
			}},
		},
	}
}

// foreignLibrary is what generated code of the library has.
type foreignLibrary struct {
	total   *uint64
	limits  UntypedMap
	program *BaseProgram
	link    *link.Link
	v       Variable
}

func (l *foreignLibrary) open(t *testing.T, obj Any, of btf.Type, section string) error {
	t.Helper()
	lib := &subskel.Library{
		Name: "lib", Order: nativeOrder,
		Vars: []subskel.Var{{Name: "total", Section: ".bss", Size: 8, Type: of}},
		Maps: []subskel.Map{{Name: "limits", MapDef: subskel.MapDef{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, Key: foreignU32, Value: foreignU64}}},
	}
	data, err := lib.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return openLibrary(obj, libraryDesc{
		Name: "lib", Library: string(data),
		Vars:  []binding.Var[*Variable]{{Name: "total", Field: binding.Field{Pointer: unsafe.Pointer(&l.total), Size: 8}, Align: 8, Handle: &l.v}},
		Maps:  []mapDesc{{Name: "limits", Handle: &l.limits, Types: binding.MapTypes{Key: 4, Value: 8}}},
		Progs: []binding.LibraryProg[*BaseProgram]{{Name: "add_limit_to_total", Section: section, Handle: &l.program, Link: &l.link}},
	})
}

// loadForeign loads the object with cilium/ebpf.
func loadForeign(t *testing.T) (*ebpf.Collection, *ebpf.CollectionSpec) {
	t.Helper()
	bpftest.NeedsBPF(t)
	spec := foreignSpec()
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(coll.Close)
	return coll, spec
}

// use uses the library over an object that others have loaded, and closes that.
func (l *foreignLibrary) use(t *testing.T, o *Object) {
	t.Helper()
	key, limit := uint32(7), uint64(30)
	if err := l.limits.putElement(unsafe.Pointer(&key), unsafe.Pointer(&limit), nil); err != nil {
		t.Fatal(err)
	}
	value := make([]byte, 8)
	nativeOrder.PutUint64(value, 12)
	if err := l.v.Set(value); err != nil {
		t.Fatal(err)
	}
	if result, _, err := l.program.Test(make([]byte, 64)); err != nil || result != 2 {
		t.Fatalf("run: %d, %v", result, err)
	}
	if l.total == nil {
		t.Log("the kernel cannot map sections")
	} else if *l.total != 42 {
		t.Errorf("total is %d, want 42", *l.total)
	}
	ns := bpftest.NewNetNS(t)
	ns.Enter(t)
	if _, err := (&XDPProgram{l.program}).AttachXDP(1, &XDPOptions{Mode: XDPGeneric}); err != nil {
		t.Fatal(err)
	}
	if *l.link == nil {
		t.Error("the link is not in the slot of the library")
	}
	if err := o.Load(); !errors.Is(err, ErrLoaded) {
		t.Errorf("Load: %v", err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.program.Test(make([]byte, 64)); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// A library works over an object that cilium/ebpf has loaded.
func TestFromCollection(t *testing.T) {
	coll, spec := loadForeign(t)
	o, err := FromCollection(coll, spec)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	var lib foreignLibrary
	if err := lib.open(t, o, foreignU32, "xdp"); err == nil || !strings.Contains(err.Error(), "total") {
		t.Errorf("variable of another type: %v", err)
	}
	if err := lib.open(t, o, foreignU64, "tc"); err == nil || !strings.Contains(err.Error(), `one with SEC("xdp")`) {
		t.Errorf("program of another type: %v", err)
	}
	if err := lib.open(t, o, foreignU64, "xdp"); err != nil {
		t.Fatal(err)
	}
	if _, ok := o.FindVariable("own"); ok {
		t.Error("a static variable is found")
	}
	// What is seen is the collection's.
	lib.use(t, o)
	var limit uint64
	if err := coll.Maps["limits"].Lookup(uint32(7), &limit); err != nil || limit != 30 {
		t.Errorf("limit %d, %v", limit, err)
	}
	if _, _, err := coll.Programs["add_limit_to_total"].Test(make([]byte, 64)); err != nil {
		t.Errorf("the collection after Close of the object: %v", err)
	}
}

// A spec of something else is refused.
func TestFromOtherCollection(t *testing.T) {
	coll, _ := loadForeign(t)
	for _, tc := range []struct {
		coll *ebpf.Collection
		spec *ebpf.CollectionSpec
		want string
	}{
		{nil, nil, "is nil"},
		{coll, &ebpf.CollectionSpec{}, "map .bss is not in the spec"},
		{&ebpf.Collection{Programs: coll.Programs}, &ebpf.CollectionSpec{}, "program add_limit_to_total is not in the spec"},
		{&ebpf.Collection{Programs: coll.Programs}, foreignSpec(), "it has no BTF"},
	} {
		if o, err := FromCollection(tc.coll, tc.spec); o != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error %v, want %q", err, tc.want)
		}
	}
}

// A library works over what is pinned.
func TestFromPins(t *testing.T) {
	coll, _ := loadForeign(t)
	dir := filepath.Join(bpftest.PinDir(t), "foreign")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := FromPins(dir); err == nil || !strings.Contains(err.Error(), "no map and no program is pinned there") {
		t.Errorf("empty directory: %v", err)
	}
	if err := errors.Join(
		coll.Maps[".bss"].Pin(filepath.Join(dir, "foreign_bss")),
		coll.Maps["limits"].Pin(filepath.Join(dir, "limits")),
		coll.Programs["add_limit_to_total"].Pin(filepath.Join(dir, "add_limit_to_total")),
		os.Mkdir(filepath.Join(dir, "more"), 0o700),
	); err != nil {
		t.Fatal(err)
	}
	o, err := FromPins(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	coll.Close()
	var lib foreignLibrary
	if err := lib.open(t, o, foreignU64, "tc"); err == nil || !strings.Contains(err.Error(), "add_limit_to_total") {
		t.Errorf("program of another type: %v", err)
	}
	if err := lib.open(t, o, foreignU64, "xdp"); err != nil {
		t.Fatal(err)
	}
	lib.use(t, o)

	if err := os.Rename(filepath.Join(dir, "limits"), filepath.Join(dir, "renamed")); err != nil {
		t.Fatal(err)
	}
	other, err := FromPins(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := lib.open(t, other, foreignU64, "xdp"); err == nil || !strings.Contains(err.Error(), "limits") {
		t.Errorf("without a map: %v", err)
	}
	if _, err := FromPins(t.TempDir()); err == nil {
		t.Error("takes a directory of files")
	}
}

// What the kernel does not tell the types of is found without: programs alone, maps without BTF,
// and all that a process without CAP_SYS_ADMIN finds.
func TestFromPinsWithoutTypes(t *testing.T) {
	coll, _ := loadForeign(t)
	root := bpftest.PinDir(t)
	plain, err := ebpf.NewMap(&ebpf.MapSpec{Name: "limits", Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	program := coll.Programs["add_limit_to_total"]
	for _, tc := range []struct {
		name string
		pins map[string]interface{ Pin(string) error }
		// rights are those of the process, nil for all.
		rights []uint
	}{
		{"programs", map[string]interface{ Pin(string) error }{"add_limit_to_total": program}, nil},
		{"maps", map[string]interface{ Pin(string) error }{"limits": plain}, nil},
		{"rights", map[string]interface{ Pin(string) error }{
			"limits": coll.Maps["limits"], "foreign_bss": coll.Maps[".bss"], "add_limit_to_total": program,
		}, []uint{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_NET_ADMIN}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.rights != nil {
				bpftest.NeedsKernel(t, 5, 8, "CAP_BPF")
			}
			dir := filepath.Join(root, tc.name)
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			for name, what := range tc.pins {
				if err := what.Pin(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			var o *Object
			open := func() (err error) {
				o, err = FromPins(dir)
				return err
			}
			if tc.rights == nil {
				err = open()
			} else {
				err = kerneltest.AsRoot(t, open, tc.rights...)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer o.Close()
			if _, ok := o.FindVariable("total"); ok {
				t.Error("a variable is found")
			}
			lib := &subskel.Library{Name: "lib", Order: nativeOrder}
			var limits UntypedMap
			var prog *BaseProgram
			var slot *link.Link
			desc := libraryDesc{Name: "lib"}
			if tc.pins["limits"] != nil {
				lib.Maps = []subskel.Map{{Name: "limits", MapDef: subskel.MapDef{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, Key: foreignU32, Value: foreignU64}}}
				desc.Maps = []mapDesc{{Name: "limits", Handle: &limits, Types: binding.MapTypes{Key: 4, Value: 8}}}
			}
			if tc.pins["add_limit_to_total"] != nil {
				desc.Progs = []binding.LibraryProg[*BaseProgram]{{Name: "add_limit_to_total", Section: "xdp", Handle: &prog, Link: &slot}}
			}
			data, err := lib.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			desc.Library = string(data)
			if err := openLibrary(o, desc); err != nil {
				t.Fatal(err)
			}
			key, limit := uint32(7), uint64(30)
			if tc.pins["limits"] != nil {
				if err := limits.putElement(unsafe.Pointer(&key), unsafe.Pointer(&limit), nil); err != nil {
					t.Error(err)
				}
			}
			if prog != nil {
				if result, _, err := prog.Test(make([]byte, 64)); err != nil || result != 2 {
					t.Errorf("run: %d, %v", result, err)
				}
			}
		})
	}
}

// Links alone are nothing that a library could use.
func TestFromPinnedLinks(t *testing.T) {
	coll, _ := loadForeign(t)
	bpftest.NewNetNS(t).Enter(t)
	dir := bpftest.PinDir(t)
	l, err := link.AttachXDP(link.XDPOptions{Program: coll.Programs["add_limit_to_total"], Interface: 1, Flags: link.XDPGenericMode})
	if err != nil {
		t.Skipf("needs links of XDP: %v (5.9)", err)
	}
	defer l.Close()
	if err := l.Pin(filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := FromPins(dir); err == nil || !strings.Contains(err.Error(), "no map and no program is pinned there") {
		t.Errorf("error %v", err)
	}
}
