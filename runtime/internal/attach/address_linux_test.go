package attach

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/kallsyms"
)

// An address is not a name that is searched for.
func TestFindAddress(t *testing.T) {
	errs := Find([]Target{
		{secdef.AutoKprobe, "0xffffffff81000000"},
		{secdef.AutoKprobe, "0xnothing"},
		{secdef.AutoKprobe, "0x10+0x4"},
	})
	if errs[0] != nil {
		t.Error(errs[0])
	}
	for i, want := range []string{`target "0xnothing" is not an address: invalid syntax`, `target "0x10+0x4" is not an address: invalid syntax`} {
		kerneltest.WantError(t, errs[i+1], want)
		if IsMissing(errs[i+1]) {
			t.Errorf("%v: is said to be missing", errs[i+1])
		}
	}
}

// A kprobe is on the address of a function, and of nothing else.
func TestKprobeAddress(t *testing.T) {
	spec := kerneltest.Trivial(ebpf.Kprobe, "kprobe")
	spec.Instructions = asm.Instructions{
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(asm.RFP, -4, asm.R1, asm.Word),
		asm.LoadMapPtr(asm.R1, 0).WithReference("runs"),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "end"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("end"),
		asm.Return(),
	}
	o := load(t, &ebpf.MapSpec{Name: "runs", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}, spec)
	p := o.progs[0]
	_, err := Kprobe(p, "0xnothing", ProbeOptions{})
	kerneltest.WantError(t, err, `target "0xnothing" is not an address: invalid syntax`)
	bpftest.NeedsKprobes(t)
	var address uint64
	for s, err := range kallsyms.All() {
		if err != nil {
			t.Fatal(err)
		}
		if string(s.Name) == "vfs_read" && s.IsFunction() {
			if address, err = s.Address(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if address == 0 {
		t.Skip("needs the right to read addresses of the kernel")
	}
	if _, err := Kprobe(p, "0x10", ProbeOptions{}); err == nil || errors.Is(err, unix.EPERM) {
		t.Errorf("address 16: %v", err)
	}
	l, err := Kprobe(p, fmt.Sprintf("%#x", address), ProbeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	fd, err := unix.Open("/dev/zero", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for range 3 {
		if _, err := unix.Read(fd, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	var runs uint64
	if err := o.m.Lookup(uint32(0), &runs); err != nil {
		t.Fatal(err)
	}
	if runs < 3 {
		t.Errorf("the program has run %d times in 3 calls", runs)
	}
}
