package skeleton

import (
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// A program without a type is not left out in silence.
func TestUnspecifiedType(t *testing.T) {
	for section, want := range map[string]string{
		"xpd":        `program odd, SEC("xpd"): the section gives the program no type (did you mean SEC("xdp")?): call SetType before Load, or SetAutoload(false)`,
		"my_section": `program odd, SEC("my_section"): the section gives the program no type: call SetType before Load, or SetAutoload(false)`,
	} {
		o := newTestObject(t, nil, testSection("odd", ebpf.UnspecifiedProgram, section), testSection("plain", ebpf.SocketFilter, "socket"))
		defer o.Close()
		if err := o.Load(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if err := o.progs[0].SetAutoload(false); err != nil {
			t.Fatal(err)
		}
		if err := o.Load(); err != nil {
			t.Fatal(err)
		}
		wantReasons(t, o, map[string]string{"odd": "autoload is off: call SetAutoload(true) before Load", "plain": "needs a socket: call AttachSocket"})
	}
}

// The type that the user chooses is what the kernel gets.
func TestSetType(t *testing.T) {
	o := newTestObject(t, nil, testSection("own", ebpf.UnspecifiedProgram, "my_section"), testSection("probe", ebpf.Kprobe, "kprobe.multi/vfs_*"))
	defer o.Close()
	own, probe := o.progs[0], o.progs[1]
	if err := own.SetType(ebpf.UnspecifiedProgram, ebpf.AttachNone); err == nil {
		t.Error("takes an unspecified type")
	}
	if err := o.Load(); err == nil || !strings.Contains(err.Error(), "set type of program own: the type is unspecified") {
		t.Errorf("Load after a setting that was refused: %v", err)
	}
	if err := own.SetType(ebpf.SocketFilter, ebpf.AttachNone); err != nil {
		t.Fatal(err)
	}
	// What the section says is of another type.
	probe.def.Flags = 1 << 4
	if err := probe.SetType(ebpf.XDP, ebpf.AttachXDPCPUMap); err != nil {
		t.Fatal(err)
	}
	if s := probe.def; s.Type != ebpf.XDP || s.AttachType != ebpf.AttachXDPCPUMap || s.AttachTo != "" || s.Flags != 0 {
		t.Errorf("%v, %v, %q, %#x", s.Type, s.AttachType, s.AttachTo, s.Flags)
	}
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	if err := o.Attach(); err != nil {
		t.Fatal(err)
	}
	byHand := "SEC() does not say how it is attached: attach it with a function of package link, and put the link into the slot"
	wantReasons(t, o, map[string]string{"own": byHand, "probe": byHand})
	for _, p := range o.progs {
		info, err := p.Program().Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Type != p.Type() {
			t.Errorf("program %s has type %v in the kernel, want %v", p.name, info.Type, p.Type())
		}
	}
	if err := own.SetType(ebpf.XDP, ebpf.AttachXDP); !errors.Is(err, ErrLoaded) || !strings.Contains(err.Error(), "program own") {
		t.Errorf("after Load: %v", err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if err := own.SetType(ebpf.XDP, ebpf.AttachXDP); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// The same type keeps what the section says.
func TestSetSameType(t *testing.T) {
	spec := newTestProgram("entry", asm.Mov.Imm(asm.R0, 0), asm.Return())
	spec.SectionName = "fentry/vfs_read"
	o := newTestObject(t, nil, spec)
	defer o.Close()
	if err := o.progs[0].SetType(ebpf.Tracing, ebpf.AttachTraceFExit); err != nil {
		t.Fatal(err)
	}
	if p := o.progs[0]; p.Target() != "vfs_read" || p.AttachType() != ebpf.AttachTraceFExit || p.leftOut() != "" {
		t.Errorf("%q, %v, %q", p.Target(), p.AttachType(), p.leftOut())
	}
}
