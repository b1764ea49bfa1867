package loader

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// opsImage returns an image of congestion controls, with tables of the names in a section.
// Their type is a part of the kernel's, in another order.
func opsImage(t testing.TB, section string, tables ...string) *image.Object {
	t.Helper()
	bpftest.NeedsBPF(t)
	kerneltest.NeedsJIT(t)
	if _, ok := needKernelBTF(t).Types().Find("bpf_struct_ops_tcp_congestion_ops", rawbtf.Struct); !ok {
		t.Skip("needs a kernel with struct_ops of tcp_congestion_ops (5.6)")
	}
	typ := structOf(56, at(0, "ssthresh", fn), at(8, "undo_cwnd", fn), at(16, "cong_avoid", fn),
		at(24, "name", arrayOf(16, u8)), at(40, "flags", u32), at(48, "no_such_member", u64))
	typ.Name = "tcp_congestion_ops___test"
	functions := []function{{name: "ssthresh", insns: returns(2)}, {name: "undo_cwnd", insns: returns(3)}, {name: "cong_avoid", insns: returns(0)}}
	sections := make(map[string]string)
	for _, f := range functions {
		sections[f.name] = "struct_ops/" + f.name
	}
	img := testImage(t, functions, sections)
	img.BTF = rawTypes(t, typ)
	img.FuncInfo, img.LineInfo = image.Table[image.FuncInfo]{}, image.Table[image.LineInfo]{}
	for _, name := range tables {
		table := make([]byte, typ.Size)
		copy(table[24:], name)
		img.StructOps = append(img.StructOps, image.StructOps{
			Name: name, Section: section, Type: 1, Contents: table,
			Funcs: []image.OpsFunc{{Offset: 0, Program: 0}, {Offset: 8, Program: 1}, {Offset: 16, Program: 2}},
		})
	}
	return img
}

// Tables of one type share their programs, and keep their values apart.
func TestStructOps(t *testing.T) {
	o := Open(opsImage(t, ".struct_ops.link", "rbpf_one", "rbpf_two"))
	err := o.Load(Options{})
	if errors.Is(err, ebpf.ErrNotSupported) {
		t.Skipf("needs links of struct_ops maps (Linux 6.4): %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for _, s := range o.StructOps {
		if !bytes.Contains(s.Value, []byte(s.Name)) {
			t.Errorf("%s: its name is not in its value", s.Name)
		}
		l, err := link.AttachStructOps(link.StructOpsOptions{Map: s.Map})
		if err != nil {
			t.Errorf("%s: %v", s.Name, err)
			continue
		}
		defer l.Close()
	}
	again, err := o.NewStructOps(o.StructOps[0])
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if o.StructOps[0].Map != nil {
		t.Error("the map is there after Close")
	}
	if _, err := o.NewStructOps(o.StructOps[0]); err == nil {
		t.Error("makes a map after Close")
	}
}

// A map without a link is registered by its value, and once only.
func TestStructOpsWithoutLink(t *testing.T) {
	o := Open(opsImage(t, ".struct_ops", "rbpf_three"))
	if err := o.Load(Options{}); err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	s := o.StructOps[0]
	for range 2 {
		m, err := o.NewStructOps(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Put(uint32(0), s.Value); err != nil {
			t.Errorf("register: %v", err)
		}
		if err := m.Delete(uint32(0)); err != nil {
			t.Errorf("unregister: %v", err)
		}
		m.Close()
	}
}

// Whichever call of a Load fails, nothing is left of it.
func TestStructOpsNthFailure(t *testing.T) {
	open := func() *Object { return Open(opsImage(t, ".struct_ops", "rbpf_five", "rbpf_six")) }
	// What is found out about the kernel is known from then on.
	o := open()
	if err := o.Load(Options{}); err != nil {
		t.Fatal(err)
	}
	o.Close()
	fds := kerneltest.FDs(t)
	for n := 1; ; n++ {
		calls, program := 0, false
		restore := sys.SetFault(func(c sys.Cmd) error {
			calls++
			// A program is tried once more, with a log.
			if calls == n || calls == n+1 && program && c == sys.ProgLoadCmd {
				program = c == sys.ProgLoadCmd
				return unix.ENOMEM
			}
			return nil
		})
		o := open()
		err := o.Load(Options{Parallel: 1})
		restore()
		if calls < n {
			o.Close()
			if n < 6 {
				t.Errorf("Load makes only %d calls", n-1)
			}
			break
		}
		if !errors.Is(err, unix.ENOMEM) {
			t.Errorf("call %d fails: %v", n, err)
		}
		if o.StructOps[0].Map != nil || o.Programs[0].Program != nil {
			t.Errorf("call %d fails, and something is left", n)
		}
		if after := kerneltest.FDs(t); len(after) > len(fds) {
			t.Fatalf("call %d fails, and leaves %v of %v", n, after, fds)
		}
	}
}

// A map that is not to be made, and the programs that only it has, are left out.
func TestStructOpsAutocreate(t *testing.T) {
	o := Open(opsImage(t, "?.struct_ops", "rbpf_four"))
	if err := o.Load(Options{}); err != nil {
		t.Fatal(err)
	}
	if o.StructOps[0].Map != nil || o.Programs[0].Program != nil {
		t.Error("what is optional was made")
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o.StructOps[0].Autocreate = true
	delete(o.StructOps[0].Programs, 16)
	if err := o.Load(Options{}); err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if o.StructOps[0].Map == nil || o.Programs[0].Program == nil || o.Programs[2].Program != nil {
		t.Error("not the programs of the table are loaded")
	}
}

func TestStructOpsErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *testing.T, o *Object)
		want   string
	}{
		{"value", func(t *testing.T, o *Object) { o.StructOps[0].Table[48] = 7 },
			`map rbpf_one, SEC(".struct_ops"): member no_such_member is 7, and the kernel's struct tcp_congestion_ops has no such member: set it to zero, or load on a kernel that has it`},
		{"two members", func(t *testing.T, o *Object) { o.StructOps[1].Programs[0] = o.Programs[1] },
			`map rbpf_two, SEC(".struct_ops"): program undo_cwnd is both member undo_cwnd of map rbpf_one and member ssthresh of map rbpf_two: the kernel takes a program for one member of one type: write a second program that calls the same function`},
		{"no function", func(t *testing.T, o *Object) { o.StructOps[0].Programs[24] = o.Programs[1] },
			"has a program at offset 24, where struct tcp_congestion_ops___test has no function"},
		{"other object", func(t *testing.T, o *Object) {
			o.StructOps[0].Programs[0] = Open(opsImage(t, ".struct_ops", "rbpf_other")).Programs[0]
		}, "member ssthresh is program ssthresh of another object: assign one of this object"},
		{"other kind", func(t *testing.T, o *Object) { o.Programs[0].Type = ebpf.XDP },
			`member ssthresh is program ssthresh of SEC("struct_ops/ssthresh"): assign a program of SEC("struct_ops")`},
		{"short", func(t *testing.T, o *Object) { o.StructOps[0].Table = nil },
			"has 0 bytes, and its type 56: generate the code again"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := Open(opsImage(t, ".struct_ops", "rbpf_one", "rbpf_two"))
			c.change(t, o)
			err := o.Load(Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	o := Open(opsImage(t, ".struct_ops.link", "rbpf_one"))
	delete(o.StructOps[0].Programs, 0)
	if err := o.Load(Options{}); err == nil || !strings.Contains(err.Error(), "the kernel does not take this table of type tcp_congestion_ops: give it the members that the type requires") && !errors.Is(err, ebpf.ErrNotSupported) {
		t.Errorf("without what the type requires: %v", err)
	}
	if o.StructOps[0].Map != nil || o.Programs[1].Program != nil {
		t.Error("something is left of a load that failed")
	}
	img := opsImage(t, ".struct_ops", "rbpf_one")
	img.BTF = rawTypes(t, &btf.Struct{Name: "no_such_ops", Size: 56})
	img.StructOps[0].Funcs = nil
	if err := Open(img).Load(Options{}); err == nil || !strings.Contains(err.Error(), "neither the kernel nor a module has the struct_ops type no_such_ops (struct bpf_struct_ops_no_such_ops is not in their BTF): load the module that has it") {
		t.Errorf("no such type: %v", err)
	}
}
