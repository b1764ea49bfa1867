// Package structops loads struct_ops maps into the running kernel: TCP congestion
// controls, which it lists and which connections use.
package structops

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/structops/progs/foreign"
	"github.com/rules-bpf/rules_bpf/tests/structops/progs/owned"
	"github.com/rules-bpf/rules_bpf/tests/structops/progs/tables"
)

func open(t testing.TB) *tables.Skeleton {
	t.Helper()
	bpftest.NeedsBPF(t)
	kerneltest.NeedsJIT(t)
	skel, err := tables.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := skel.Close(); err != nil {
			t.Error(err)
		}
	})
	return skel
}

// load loads a skeleton with maps that attach through links, and skips the test on
// kernels without these.
func load(t testing.TB, skel *tables.Skeleton) {
	t.Helper()
	err := skel.Load()
	kerneltest.StructOpsLinks(t, err)
	if err != nil {
		t.Fatal(err)
	}
}

// withoutLinks leaves only the maps that are not attached through a link.
func withoutLinks(skel *tables.Skeleton) {
	skel.Maps.First.SetAutocreate(false)
	skel.Maps.Second.SetAutocreate(false)
}

// only leaves only one map that is attached through a link.
func only(skel *tables.Skeleton) {
	skel.Maps.Second.SetAutocreate(false)
	skel.Maps.Third.SetAutocreate(false)
}

// available reports whether the kernel lists a congestion control of this name.
func available(t testing.TB, name string) bool {
	t.Helper()
	return bpftest.HasCongestionControl(t, "available", name)
}

func wantAvailable(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if !available(t, name) {
			t.Errorf("%s is not available", name)
		}
	}
}

func wantGone(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		// A connection that is on its way out may hold it for a moment.
		for range 100 {
			if !available(t, name) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if available(t, name) {
			t.Errorf("%s is still available", name)
		}
	}
}

// members are where the kernel's value of a congestion control has its function
// pointers, by name.
var members = sync.OnceValues(func() (map[string]uint32, error) {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, err
	}
	var outer *btf.Struct
	if err := spec.TypeByName("bpf_struct_ops_tcp_congestion_ops", &outer); err != nil {
		return nil, err
	}
	offsets := make(map[string]uint32)
	for _, m := range outer.Members {
		inner, ok := btf.As[*btf.Struct](m.Type)
		if !ok || inner.Name != "tcp_congestion_ops" {
			continue
		}
		for _, f := range inner.Members {
			if p, ok := btf.As[*btf.Pointer](f.Type); ok {
				if _, ok := btf.As[*btf.FuncProto](p.Target); ok {
					offsets[f.Name] = m.Offset.Bytes() + f.Offset.Bytes()
				}
			}
		}
	}
	return offsets, nil
})

// programsOf returns the ids of the programs that a map has in the kernel, by the
// names of the members.
func programsOf(t testing.TB, m *ebpf.Map) map[string]ebpf.ProgramID {
	t.Helper()
	offsets, err := members()
	if err != nil {
		t.Fatal(err)
	}
	value, err := m.LookupBytes(uint32(0))
	if err != nil {
		t.Fatal(err)
	}
	ids := make(map[string]ebpf.ProgramID)
	for name, offset := range offsets {
		ids[name] = ebpf.ProgramID(binary.NativeEndian.Uint64(value[offset:]))
	}
	return ids
}

func idOf(t testing.TB, p *skeleton.BaseProgram) ebpf.ProgramID {
	t.Helper()
	if p.Program() == nil {
		t.Fatalf("program %s is not loaded", p.Name())
	}
	info, err := p.Program().Info()
	if err != nil {
		t.Fatal(err)
	}
	id, ok := info.ID()
	if !ok {
		t.Fatal("programs have no ids")
	}
	return id
}

// Open shows what the object has.
func TestOpen(t *testing.T) {
	skel, err := tables.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	first := skel.StructOps.First
	if name := skeleton.String(first.Name[:]); name != "ops_first" {
		t.Errorf("name is %q", name)
	}
	if first.Init != skel.Progs.FirstInit || first.CongAvoid != skel.Progs.FirstCongAvoid {
		t.Error("the table does not have its programs")
	}
	if optional := skel.StructOps.Optional; optional.NotYet != nil || optional.Ssthresh != skel.Progs.V2Ssthresh {
		t.Error("the optional table does not have its programs")
	}
	for _, tt := range []struct {
		m    *skeleton.StructOpsMap
		auto bool
	}{
		{skel.Maps.First, true}, {skel.Maps.Third, true}, {skel.Maps.Optional, false}, {skel.Maps.OptionalOld, false},
	} {
		if tt.m.Autocreate() != tt.auto || !tt.m.Autoattach() {
			t.Errorf("map %s: autocreate %t, autoattach %t", tt.m.Name(), tt.m.Autocreate(), tt.m.Autoattach())
		}
	}
	if m := skel.Maps.First; m.Type() != ebpf.StructOpsMap || m.Name() != "first" {
		t.Errorf("map %s is of type %v", m.Name(), m.Type())
	}
}

// Each form of map is there between Attach and Detach, again and again, and is used.
func TestAttach(t *testing.T) {
	skel := open(t)
	skel.Maps.Optional.SetAutocreate(true)
	load(t, skel)
	names := []string{"ops_first", "ops_second", "ops_third", "ops_optional"}
	for range 3 {
		wantGone(t, names...)
		if err := skel.Attach(); err != nil {
			t.Fatal(err)
		}
		wantAvailable(t, names...)
		for _, l := range []link.Link{skel.Links.First, skel.Links.Second, skel.Links.Third, skel.Links.Optional} {
			if l == nil {
				t.Error("a slot is empty")
			}
		}
		if skel.Links.OptionalOld != nil {
			t.Error("a map that was not created is attached")
		}
		for i, calls := range []*tables.Calls{&skel.Bss.FirstCalls, &skel.Bss.SecondCalls, &skel.Bss.ThirdCalls, &skel.Bss.V2Calls} {
			before := atomic.LoadUint64(&calls.CongAvoid)
			bpftest.TransferTCP(t, names[i])
			if atomic.LoadUint64(&calls.CongAvoid) == before {
				t.Errorf("%s was not used", names[i])
			}
		}
		if err := skel.Detach(); err != nil {
			t.Fatal(err)
		}
		wantGone(t, names...)
	}
}

// The same without links, which works on kernels before 6.4.
func TestAttachWithoutLinks(t *testing.T) {
	skel := open(t)
	withoutLinks(skel)
	skel.Maps.OptionalOld.SetAutocreate(true)
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := skel.Attach(); err != nil {
			t.Fatal(err)
		}
		wantAvailable(t, "ops_third", "ops_old")
		for name, calls := range map[string]*tables.Calls{"ops_third": &skel.Bss.ThirdCalls, "ops_old": &skel.Bss.V2Calls} {
			before := atomic.LoadUint64(&calls.CongAvoid)
			bpftest.TransferTCP(t, name)
			if atomic.LoadUint64(&calls.CongAvoid) == before {
				t.Errorf("%s was not used", name)
			}
		}
		if skel.Progs.FirstInit.Program() != nil {
			t.Error("a program of a map that was not created is loaded")
		}
		if err := skel.Links.Third.Pin("/sys/fs/bpf/third"); !errors.Is(err, link.ErrNotSupported) {
			t.Errorf("pinning gives %v", err)
		}
		if err := skel.Detach(); err != nil {
			t.Fatal(err)
		}
		wantGone(t, "ops_third", "ops_old")
	}
	// Close takes it from the kernel too.
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	if err := skel.Close(); err != nil {
		t.Fatal(err)
	}
	wantGone(t, "ops_third", "ops_old")
}

// A kernel without links says so, and loads what needs none. Others load it all.
func TestLinksNotSupported(t *testing.T) {
	skel := open(t)
	err := skel.Load()
	if err == nil {
		return
	}
	for _, want := range []string{"map first", `SEC(".struct_ops.link")`, "Linux 6.4", "put the map into section .struct_ops"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in the error %v", want, err)
		}
	}
	if !errors.Is(err, ebpf.ErrNotSupported) {
		t.Errorf("%v is not ErrNotSupported", err)
	}
	withoutLinks(skel)
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
}

// wantTable checks what a map has in the kernel: these programs and no others, and
// the name.
func wantTable(t *testing.T, m *skeleton.StructOpsMap, name string, progs map[string]*skeleton.BaseProgram) {
	t.Helper()
	for member, id := range programsOf(t, m.Map()) {
		if p := progs[member]; p != nil && id != idOf(t, p) {
			t.Fatalf("map %s has program %d for %s, want %d", m.Name(), id, member, idOf(t, p))
		} else if p == nil && id != 0 {
			t.Fatalf("map %s has program %d for %s, want none", m.Name(), id, member)
		}
	}
	value, err := m.Map().LookupBytes(uint32(0))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(value, append([]byte(name), 0)) {
		t.Fatalf("map %s does not have the name %s", m.Name(), name)
	}
}

// Maps of one type have their own programs, at each of many loads.
func TestWiring(t *testing.T) {
	check := checkWiring
	if !hasLinks(t) {
		check = checkWiringWithoutLinks
	}
	for i := range kerneltest.Rounds(200) {
		check(t, i)
	}
}

// hasLinks reports whether the kernel has links of struct_ops maps.
func hasLinks(t *testing.T) bool {
	t.Helper()
	skel := open(t)
	only(skel)
	err := skel.Load()
	if err != nil && !errors.Is(err, ebpf.ErrNotSupported) {
		t.Fatal(err)
	}
	return err == nil
}

func checkWiring(t *testing.T, i int) {
	t.Helper()
	skel := open(t)
	skel.Maps.Optional.SetAutocreate(true)
	first := map[string]*skeleton.BaseProgram{
		"init": skel.Progs.FirstInit, "ssthresh": skel.Progs.FirstSsthresh,
		"undo_cwnd": skel.Progs.FirstUndoCwnd, "cong_avoid": skel.Progs.FirstCongAvoid,
	}
	second := map[string]*skeleton.BaseProgram{
		"init": skel.Progs.SecondInit, "ssthresh": skel.Progs.SecondSsthresh,
		"undo_cwnd": skel.Progs.SecondUndoCwnd, "cong_avoid": skel.Progs.SecondCongAvoid,
	}
	// Every other time with others: replaced, shared, dropped.
	if i%2 == 1 {
		first["cong_avoid"], first["init"] = skel.Progs.SpareCongAvoid, nil
		second["ssthresh"] = skel.Progs.FirstSsthresh
		skel.StructOps.First.CongAvoid, skel.StructOps.First.Init = first["cong_avoid"], nil
		skel.StructOps.Second.Ssthresh = second["ssthresh"]
	}
	load(t, skel)
	wantTable(t, skel.Maps.First, "ops_first", first)
	wantTable(t, skel.Maps.Second, "ops_second", second)
	wantTable(t, skel.Maps.Optional, "ops_optional", map[string]*skeleton.BaseProgram{
		"ssthresh": skel.Progs.V2Ssthresh, "undo_cwnd": skel.Progs.V2UndoCwnd, "cong_avoid": skel.Progs.V2CongAvoid,
	})
	if err := skel.Close(); err != nil {
		t.Fatal(err)
	}
}

// checkWiringWithoutLinks attaches the maps: it is then that they have programs.
func checkWiringWithoutLinks(t *testing.T, i int) {
	t.Helper()
	skel := open(t)
	withoutLinks(skel)
	skel.Maps.OptionalOld.SetAutocreate(true)
	third := map[string]*skeleton.BaseProgram{
		"init": skel.Progs.ThirdInit, "ssthresh": skel.Progs.ThirdSsthresh,
		"undo_cwnd": skel.Progs.ThirdUndoCwnd, "cong_avoid": skel.Progs.ThirdCongAvoid,
	}
	old := map[string]*skeleton.BaseProgram{
		"ssthresh": skel.Progs.V2Ssthresh, "undo_cwnd": skel.Progs.V2UndoCwnd, "cong_avoid": skel.Progs.V2CongAvoid,
	}
	if i%2 == 1 {
		third["cong_avoid"], third["init"] = skel.Progs.SpareCongAvoid, nil
		old["ssthresh"] = skel.Progs.ThirdSsthresh
		skel.StructOps.Third.CongAvoid, skel.StructOps.Third.Init = third["cong_avoid"], nil
		skel.StructOps.OptionalOld.Ssthresh = old["ssthresh"]
	}
	load(t, skel)
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	wantTable(t, skel.Maps.Third, "ops_third", third)
	wantTable(t, skel.Maps.OptionalOld, "ops_old", old)
	if err := skel.Close(); err != nil {
		t.Fatal(err)
	}
}

// Kernels with links have the other form of maps too.
func TestWiringWithoutLinks(t *testing.T) {
	for i := range 4 {
		checkWiringWithoutLinks(t, i)
	}
}

// The same seen from outside: connections reach the programs of their table.
func TestWiringInUse(t *testing.T) {
	for range kerneltest.Rounds(20) {
		skel := open(t)
		load(t, skel)
		if err := skel.Attach(); err != nil {
			t.Fatal(err)
		}
		bpftest.TransferTCP(t, "ops_first")
		if skel.Bss.FirstCalls.CongAvoid == 0 || skel.Bss.SecondCalls != (tables.Calls{}) {
			t.Fatalf("a connection with ops_first called %+v of it, %+v of ops_second", skel.Bss.FirstCalls, skel.Bss.SecondCalls)
		}
		bpftest.TransferTCP(t, "ops_second")
		if skel.Bss.SecondCalls.CongAvoid == 0 || skel.Bss.ThirdCalls != (tables.Calls{}) {
			t.Fatalf("a connection with ops_second called %+v of it, %+v of ops_third", skel.Bss.SecondCalls, skel.Bss.ThirdCalls)
		}
		if err := skel.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A string and a number that are set before Load are what the kernel has.
func TestValues(t *testing.T) {
	skel := open(t)
	only(skel)
	if err := skeleton.SetString(skel.StructOps.First.Name[:], "set"); err != nil {
		t.Fatal(err)
	}
	// The kernel lists what unprivileged processes may use too.
	const nonRestricted = 1
	skel.StructOps.First.Flags = nonRestricted
	load(t, skel)
	// After Load it makes no difference.
	skel.StructOps.First.Flags = 0
	_ = skeleton.SetString(skel.StructOps.First.Name[:], "late")
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	wantAvailable(t, "set")
	wantGone(t, "ops_first", "late")
	if !bpftest.HasCongestionControl(t, "allowed", "set") {
		t.Error("the flag was not set")
	}
	bpftest.TransferTCP(t, "set")
	if skel.Bss.FirstCalls.CongAvoid == 0 {
		t.Error("it was not used")
	}
}

// A table that takes the place of the skeleton's gives it its values and programs.
func TestReplacedTable(t *testing.T) {
	skel := open(t)
	only(skel)
	table := skel.StructOps.First
	mine := *table
	if err := skeleton.SetString(mine.Name[:], "replaced"); err != nil {
		t.Fatal(err)
	}
	mine.CongAvoid = skel.Progs.SpareCongAvoid
	skel.StructOps.First = &mine
	// One that is not created does not matter.
	skel.StructOps.Second = nil
	load(t, skel)
	if skel.StructOps.First != table || table.CongAvoid != skel.Progs.SpareCongAvoid {
		t.Error("the field does not point to the skeleton's table, or that has other programs")
	}
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	wantAvailable(t, "replaced")
	wantGone(t, "ops_first")
	bpftest.TransferTCP(t, "replaced")
	if atomic.LoadUint64(&skel.Bss.SpareCalls.CongAvoid) == 0 {
		t.Error("its program was not used")
	}
}

func TestTableSetToNil(t *testing.T) {
	skel := open(t)
	only(skel)
	skel.StructOps.First = nil
	err := skel.Load()
	if err == nil {
		t.Fatal("Load takes a table that is nil")
	}
	for _, want := range []string{"struct_ops map first: its field was set to nil", "SetAutocreate(false)"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in the error %v", want, err)
		}
	}
}

// An array is set element by element.
func TestArray(t *testing.T) {
	skel := open(t)
	withoutLinks(skel)
	name := &skel.StructOps.Third.Name
	copy(name[4:], name[5:])
	name[0] = 'O'
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	wantAvailable(t, "Ops_hird")
	wantGone(t, "ops_third")
	bpftest.TransferTCP(t, "Ops_hird")
	if atomic.LoadUint64(&skel.Bss.ThirdCalls.CongAvoid) == 0 {
		t.Error("it was not used")
	}
}

// A value that the kernel's type does not allow is refused when the table is loaded.
func TestRefusedValue(t *testing.T) {
	skel := open(t)
	only(skel)
	skel.StructOps.First.Flags = 1 << 31
	err := skel.Load()
	if err == nil {
		t.Fatal("the kernel takes a flag that it does not know")
	}
	kerneltest.StructOpsLinks(t, err)
	for _, want := range []string{"map first", "tcp_congestion_ops", "does not take this table"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in the error %v", want, err)
		}
	}
	if !errors.Is(err, unix.EINVAL) {
		t.Errorf("%v is not EINVAL", err)
	}
	// Nothing stays behind, and it can be tried again.
	skel.StructOps.First.Flags = 0
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
}

// A function pointer is replaced, shared by two tables, and dropped.
func TestPrograms(t *testing.T) {
	skel := open(t)
	skel.Maps.Third.SetAutocreate(false)
	skel.StructOps.First.CongAvoid = skel.Progs.SpareCongAvoid
	skel.StructOps.First.Init = skel.Progs.SpareInit
	skel.StructOps.Second.Init = skel.Progs.SpareInit
	skel.StructOps.Second.Ssthresh = skel.Progs.FirstSsthresh
	load(t, skel)
	for _, p := range []*skeleton.BaseProgram{skel.Progs.FirstCongAvoid, skel.Progs.FirstInit, skel.Progs.SecondInit, skel.Progs.SecondSsthresh, skel.Progs.ThirdInit} {
		if p.Program() != nil {
			t.Errorf("program %s is loaded, and no table has it", p.Name())
		}
	}
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	bpftest.TransferTCP(t, "ops_first")
	bpftest.TransferTCP(t, "ops_second")
	if skel.Bss.SpareCalls.CongAvoid == 0 || skel.Bss.FirstCalls.CongAvoid != 0 {
		t.Errorf("%+v of the new program and %+v of the old one were called", skel.Bss.SpareCalls, skel.Bss.FirstCalls)
	}
	if skel.Bss.SharedInit != 2 {
		t.Errorf("the shared program was called %d times, want 2", skel.Bss.SharedInit)
	}
	if skel.Bss.SecondCalls.CongAvoid == 0 {
		t.Error("ops_second was not used")
	}
}

func TestDroppedProgram(t *testing.T) {
	skel := open(t)
	only(skel)
	skel.StructOps.First.Init = nil
	load(t, skel)
	if skel.Progs.FirstInit.Program() != nil {
		t.Error("the program is loaded")
	}
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	bpftest.TransferTCP(t, "ops_first")
	if calls := skel.Bss.FirstCalls; calls.Init != 0 || calls.CongAvoid == 0 {
		t.Errorf("calls are %+v", calls)
	}
}

// A table without a member that the kernel requires is refused.
func TestRequiredProgram(t *testing.T) {
	skel := open(t)
	withoutLinks(skel)
	skel.StructOps.Third.Ssthresh = nil
	// Without a link, the kernel looks at the table when it is attached.
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	err := skel.Attach()
	if err == nil || !strings.Contains(err.Error(), "map third") || !errors.Is(err, unix.EINVAL) {
		t.Errorf("Attach gives %v", err)
	}
	if skel.Links.Third != nil {
		t.Error("the slot is not empty")
	}
	wantGone(t, "ops_third")
}

// What a user can do wrong with programs is said before the kernel says something
// else, and the tables can be mended.
func TestWrongPrograms(t *testing.T) {
	other := open(t)
	for _, tt := range []struct {
		name   string
		change func(*tables.Skeleton)
		want   []string
	}{
		{
			"two members of one type",
			func(s *tables.Skeleton) { s.StructOps.Third.UndoCwnd = s.Progs.ThirdSsthresh },
			[]string{"map third", "program third_ssthresh is both member ssthresh of map third and member undo_cwnd of map third", "second program"},
		},
		{
			"two members of two maps",
			func(s *tables.Skeleton) {
				s.Maps.OptionalOld.SetAutocreate(true)
				s.StructOps.OptionalOld.UndoCwnd = s.Progs.ThirdSsthresh
			},
			[]string{"map optional_old", "program third_ssthresh is both member ssthresh of map third and member undo_cwnd of map optional_old"},
		},
		{
			"program of another type",
			func(s *tables.Skeleton) { s.StructOps.Third.Init = s.Progs.Pass.Handle() },
			[]string{"map third", "member init", "program pass", `SEC("xdp")`, `SEC("struct_ops")`},
		},
		{
			"program of another skeleton",
			func(s *tables.Skeleton) { s.StructOps.Third.Init = other.Progs.ThirdInit },
			[]string{"map third", "member init", "program third_init", "another skeleton"},
		},
		{
			"program for a member that the kernel lacks",
			func(s *tables.Skeleton) {
				s.Maps.OptionalOld.SetAutocreate(true)
				s.StructOps.OptionalOld.NotYet = s.Progs.SpareInit
			},
			[]string{"map optional_old", "member not_yet", "program spare_init", "tcp_congestion_ops has no such member", "set it to nil"},
		},
		{
			"reuse",
			func(s *tables.Skeleton) { _ = s.Maps.Third.Reuse(new(ebpf.Map)) },
			[]string{"set reused map of map third", "a struct_ops map is as its table and the kernel say"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			skel := open(t)
			withoutLinks(skel)
			tt.change(skel)
			err := skel.Load()
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in the error %v", want, err)
				}
			}
		})
	}
}

// A member that the kernel lacks is fine when it is zero, and an error otherwise.
func TestMissingMember(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*tables.TcpCongestionOpsV2)
		want   string
	}{
		{"number", func(o *tables.TcpCongestionOpsV2) { o.Budget = 7 }, "member budget is 7"},
		{"struct", func(o *tables.TcpCongestionOpsV2) { o.Limits.Most = 1 }, "member limits is 4294967296"},
		{"array", func(o *tables.TcpCongestionOpsV2) { o.Rounds[2] = 1 }, "member rounds is 00 00"},
		{"bit", func(o *tables.TcpCongestionOpsV2) { o.SetLevel(3) }, "member level is not zero"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			skel := open(t)
			withoutLinks(skel)
			skel.Maps.OptionalOld.SetAutocreate(true)
			tt.change(skel.StructOps.OptionalOld)
			err := skel.Load()
			for _, want := range []string{"map optional_old", tt.want, "the kernel's struct tcp_congestion_ops has no such member", "set it to zero"} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in the error %v", want, err)
				}
			}
			*skel.StructOps.OptionalOld = tables.TcpCongestionOpsV2{
				Name:      skel.StructOps.OptionalOld.Name,
				Ssthresh:  skel.Progs.V2Ssthresh,
				UndoCwnd:  skel.Progs.V2UndoCwnd,
				CongAvoid: skel.Progs.V2CongAvoid,
			}
			if err := skel.Load(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A type that the kernel does not have is an error for a map that is to be created.
func TestMissingType(t *testing.T) {
	bpftest.NeedsBPF(t)
	kerneltest.NeedsJIT(t)
	skel, err := foreign.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	skel.Maps.Teapot.SetAutocreate(true)
	err = skel.Load()
	for _, want := range []string{"map teapot", "teapot_ops", "bpf_struct_ops_teapot_ops", "load the module"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in the error %v", want, err)
		}
	}
	if !errors.Is(err, ebpf.ErrNotSupported) {
		t.Errorf("%v is not ErrNotSupported", err)
	}
	skel.Maps.Teapot.SetAutocreate(false)
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	if skel.Progs.Brew.Program() != nil {
		t.Error("the program of a map that is not created is loaded")
	}
	if _, err := skel.Maps.Teapot.Attach(); !errors.Is(err, skeleton.ErrNotLoaded) || !strings.Contains(err.Error(), "SetAutocreate(true)") {
		t.Errorf("Attach gives %v", err)
	}
}

// Maps can be left out of Attach, and attached one by one.
func TestManualAttach(t *testing.T) {
	skel := open(t)
	skel.Maps.First.SetAutoattach(false)
	skel.Maps.Third.SetAutoattach(false)
	if _, err := skel.Maps.First.Attach(); !errors.Is(err, skeleton.ErrNotLoaded) {
		t.Errorf("Attach before Load gives %v", err)
	}
	load(t, skel)
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	wantAvailable(t, "ops_second")
	if available(t, "ops_first") || available(t, "ops_third") {
		t.Error("maps are attached that are not to be")
	}
	for _, m := range []*skeleton.StructOpsMap{skel.Maps.First, skel.Maps.Third} {
		if _, err := m.Attach(); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Attach(); err == nil || !strings.Contains(err.Error(), "attached") {
			t.Errorf("a second Attach gives %v", err)
		}
	}
	if skel.Links.First == nil || skel.Links.Third == nil {
		t.Error("a slot is empty")
	}
	wantAvailable(t, "ops_first", "ops_third")
	if err := skel.Detach(); err != nil {
		t.Fatal(err)
	}
	wantGone(t, "ops_first", "ops_second", "ops_third")
	for _, a := range skel.Attachments() {
		byHand := a.Name == skel.Maps.First.Name() || a.Name == skel.Maps.Third.Name()
		if byHand && (a.State != skeleton.NotAttached || a.Reason != "detached") {
			t.Errorf("after Detach: %v", a)
		}
	}
	if err := skel.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := skel.Maps.First.Attach(); !errors.Is(err, skeleton.ErrClosed) {
		t.Errorf("Attach after Close gives %v", err)
	}
}

// A program of tables is loaded when one of them is created, and attached when one of them
// is, and its handle says so at every moment.
func TestStateOfPrograms(t *testing.T) {
	skel := open(t)
	p := &skel.Progs
	wantAutoload := func(when string, want map[*skeleton.BaseProgram]bool) {
		t.Helper()
		for prog, auto := range want {
			if prog.Autoload() != auto {
				t.Errorf("%s: autoload of %s is %t", when, prog.Name(), !auto)
			}
		}
	}
	wantAutoload("at first", map[*skeleton.BaseProgram]bool{p.FirstInit: true, p.ThirdInit: true, p.SpareInit: false, p.V2Ssthresh: false})
	// As with libbpf, the tables decide.
	if err := p.SpareInit.SetAutoload(true); err != nil {
		t.Error(err)
	}
	withoutLinks(skel)
	skel.StructOps.Third.Init = p.SpareInit
	want := map[*skeleton.BaseProgram]bool{p.FirstInit: false, p.FirstCongAvoid: false, p.ThirdInit: false, p.SpareInit: true, p.ThirdCongAvoid: true}
	wantAutoload("changed", want)
	// A table of the user's own counts before Load takes it.
	third := *skel.StructOps.Third
	third.Init = nil
	was := skel.StructOps.Third
	skel.StructOps.Third = &third
	wantAutoload("replaced", map[*skeleton.BaseProgram]bool{p.SpareInit: false, p.ThirdInit: false, p.ThirdCongAvoid: true})
	skel.StructOps.Third = was

	state := func(name string) skeleton.Attachment {
		for _, a := range skel.Attachments() {
			if a.Name == name {
				return a
			}
		}
		t.Fatalf("no attachment of %s", name)
		return skeleton.Attachment{}
	}
	wantState := func(when, name string, want skeleton.AttachState, reason string) {
		t.Helper()
		if a := state(name); a.State != want || !strings.Contains(a.Reason, reason) || (want == skeleton.Attached) != (a.Reason == "") {
			t.Errorf("%s: %v", when, a)
		}
	}
	wantState("before Load", "spare_init", skeleton.NotLoaded, "not loaded")
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	wantAutoload("loaded", want)
	for prog, auto := range want {
		if (prog.Program() != nil) != auto {
			t.Errorf("program %s was loaded: %t", prog.Name(), !auto)
		}
	}
	wantState("loaded", "spare_init", skeleton.NotAttached, "belongs to struct_ops map third, and is attached with it: Attach was not called")
	wantState("loaded", "first_init", skeleton.NotLoaded, "no struct_ops map that is created has it")
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	wantState("attached", "spare_init", skeleton.Attached, "")
	wantState("attached", "third_cong_avoid", skeleton.Attached, "")
	wantState("attached", "third_init", skeleton.NotLoaded, "no struct_ops map that is created has it")
	if err := skel.Detach(); err != nil {
		t.Fatal(err)
	}
	wantState("detached", "spare_init", skeleton.NotAttached, "detached")
	if err := skel.Maps.First.SetAutocreate(true); !errors.Is(err, skeleton.ErrLoaded) {
		t.Errorf("SetAutocreate after Load: %v", err)
	}
	if err := skel.Close(); err != nil {
		t.Fatal(err)
	}
	wantState("closed", "spare_init", skeleton.NotLoaded, skeleton.ErrClosed.Error())
}

// When one map cannot be attached, none is, nor is a program.
func TestAttachFails(t *testing.T) {
	for _, links := range []bool{true, false} {
		t.Run(fmt.Sprintf("links=%t", links), func(t *testing.T) { testAttachFails(t, links) })
	}
}

func testAttachFails(t *testing.T, links bool) {
	names := []string{"ops_third"}
	choose := func(skel *tables.Skeleton) {
		if !links {
			withoutLinks(skel)
		}
	}
	if links {
		names = append(names, "ops_first", "ops_second")
	}
	blocker := open(t)
	withoutLinks(blocker)
	if err := blocker.Load(); err != nil {
		t.Fatal(err)
	}
	if err := blocker.Attach(); err != nil {
		t.Fatal(err)
	}
	skel := open(t)
	choose(skel)
	skel.Progs.Renamed.SetAutoload(true)
	load(t, skel)
	fds := len(kerneltest.FDs(t))
	err := skel.Attach()
	if err == nil || !strings.Contains(err.Error(), "map third") || !errors.Is(err, unix.EEXIST) {
		t.Errorf("Attach gives %v", err)
	}
	if skel.Links != (tables.Links{}) {
		t.Error("a slot is not empty")
	}
	if after := len(kerneltest.FDs(t)); after != fds {
		t.Errorf("%d file descriptors before, %d after", fds, after)
	}
	wantGone(t, names[1:]...)
	if err := blocker.Close(); err != nil {
		t.Fatal(err)
	}
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	wantAvailable(t, names...)
	if skel.Links.Renamed == nil {
		t.Error("the program is not attached")
	}
}

// A link of one map is given to another, without a moment in which there is neither.
func TestUpdateLink(t *testing.T) {
	skel := open(t)
	skel.Maps.Second.SetAutoattach(false)
	// What follows must have the same name.
	skel.StructOps.Second.Name = skel.StructOps.First.Name
	if err := skel.Maps.Second.UpdateLink(skel.Links.First); !errors.Is(err, skeleton.ErrNotLoaded) {
		t.Errorf("UpdateLink before Load gives %v", err)
	}
	load(t, skel)
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	bpftest.TransferTCP(t, "ops_first")
	if skel.Bss.FirstCalls.CongAvoid == 0 || skel.Bss.SecondCalls.CongAvoid != 0 {
		t.Errorf("before: calls are %+v and %+v", skel.Bss.FirstCalls, skel.Bss.SecondCalls)
	}
	if err := skel.Maps.Second.UpdateLink(skel.Links.First); err != nil {
		t.Fatal(err)
	}
	first := skel.Bss.FirstCalls.CongAvoid
	bpftest.TransferTCP(t, "ops_first")
	if skel.Bss.FirstCalls.CongAvoid != first || skel.Bss.SecondCalls.CongAvoid == 0 {
		t.Errorf("after: calls are %+v and %+v", skel.Bss.FirstCalls, skel.Bss.SecondCalls)
	}
	for _, l := range []link.Link{nil, skel.Links.Third} {
		if err := skel.Maps.First.UpdateLink(l); !errors.Is(err, ebpf.ErrNotSupported) {
			t.Errorf("UpdateLink of %v gives %v", l, err)
		}
	}
	if err := skel.Maps.Third.UpdateLink(skel.Links.First); !errors.Is(err, ebpf.ErrNotSupported) {
		t.Errorf("UpdateLink to a map without a link gives %v", err)
	}
}

// Nothing stays open.
func TestNoLeaks(t *testing.T) {
	cycle := func() {
		skel := open(t)
		withoutLinks(skel)
		if err := skel.Load(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := skel.Attach(); err != nil {
				t.Fatal(err)
			}
			if err := skel.Detach(); err != nil {
				t.Fatal(err)
			}
		}
		if err := skel.Attach(); err != nil {
			t.Fatal(err)
		}
		if err := skel.Close(); err != nil {
			t.Fatal(err)
		}
		skel = open(t)
		skel.StructOps.Second.UndoCwnd = skel.Progs.SecondSsthresh
		if err := skel.Load(); err == nil {
			t.Fatal("loads")
		}
		skel.StructOps.Second.UndoCwnd = skel.Progs.SecondUndoCwnd
		skel.StructOps.Second.Ssthresh = nil
		if err := skel.Load(); err == nil {
			t.Fatal("loads")
		}
		if err := skel.Close(); err != nil {
			t.Fatal(err)
		}
	}
	cycle()
	before := kerneltest.FDs(t)
	for range kerneltest.Rounds(20) {
		cycle()
	}
	if after := kerneltest.FDs(t); len(after) != len(before) {
		t.Errorf("%d file descriptors before, %d after: %v", len(before), len(after), after)
	}
}

// A pointer of the kernel's, as the module that owns a table, is refused by name before
// anything is in the kernel.
func TestPointerOfTheKernel(t *testing.T) {
	bpftest.NeedsBPF(t)
	kerneltest.NeedsJIT(t)
	skel, err := owned.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	err = skel.Load()
	const want = `map owned, SEC(".struct_ops"): member owner: is 5, and a pointer in the kernel (struct module *), which only a module of the kernel may set: set it to zero`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v does not contain %q", err, want)
	}
}
