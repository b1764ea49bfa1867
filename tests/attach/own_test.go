package attach_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/attach/progs/own"
)

func openOwn(t *testing.T) *own.Skeleton {
	t.Helper()
	bpftest.NeedsBPF(t)
	skel, err := own.Open()
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

// A program in a section of the project's own is not left out in silence, and runs when it
// has got a type.
func TestOwnSection(t *testing.T) {
	skel := openOwn(t)
	for _, p := range []*skeleton.BaseProgram{skel.Progs.OwnPackets, skel.Progs.OwnRenames} {
		err := skel.Load()
		for _, want := range []string{"program " + p.Name(), "SEC(\"my_", "call SetType before Load, or SetAutoload(false)"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v does not say %q", err, want)
			}
		}
		if err := p.SetType(ebpf.XDP, ebpf.AttachXDP); err != nil {
			t.Fatal(err)
		}
	}
	if err := skel.Progs.OwnRenames.SetType(ebpf.Tracing, ebpf.AttachTraceRawTp); err != nil {
		t.Fatal(err)
	}
	if err := skel.Load(); err == nil || !strings.Contains(err.Error(), "program own_renames") || !strings.Contains(err.Error(), "call SetTarget") {
		t.Errorf("%v does not say that the program lacks its target", err)
	}
	if err := skel.Progs.OwnRenames.SetTarget(nil, "task_rename"); err != nil {
		t.Fatal(err)
	}
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	if skel.Links != (own.Links{}) {
		t.Error("Attach attached something")
	}
	for _, a := range skel.Attachments() {
		if strings.HasPrefix(a.Section, "my_") && (a.State != skeleton.NotAttached || !strings.Contains(a.Reason, "package link")) {
			t.Errorf("%v does not say what attaches it", a)
		}
	}
	var err error
	if skel.Links.OwnPackets, err = link.AttachXDP(link.XDPOptions{Program: skel.Progs.OwnPackets.Program(), Interface: loopback, Flags: link.XDPGenericMode}); err != nil {
		t.Fatal(err)
	}
	if skel.Links.OwnRenames, err = link.AttachTracing(link.TracingOptions{Program: skel.Progs.OwnRenames.Program()}); err != nil {
		t.Fatal(err)
	}
	udp(t, nil)
	rename(t, nil)
	if packets, renames := atomic.LoadUint64(&skel.Bss.Packets), atomic.LoadUint64(&skel.Bss.Renames); packets == 0 || renames == 0 {
		t.Errorf("%d packets and %d renames were seen", packets, renames)
	}
	if err := skel.Detach(); err != nil {
		t.Fatal(err)
	}
	atomic.StoreUint64(&skel.Bss.Packets, 0)
	udp(t, nil)
	if n := atomic.LoadUint64(&skel.Bss.Packets); n != 0 {
		t.Errorf("%d packets were seen after Detach", n)
	}
}

// A name of the older kind has the type, the handle and the hint of its form.
func TestLegacySections(t *testing.T) {
	skel := openOwn(t)
	skel.Progs.OwnPackets.SetAutoload(false)
	skel.Progs.OwnRenames.SetAutoload(false)
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"by_number": "AttachSocket",
		"by_suffix": "AttachXDP",
		"by_path":   "AttachTC",
	} {
		if a := reasonOf(t, skel.Attachments(), name); !strings.Contains(a, want) {
			t.Errorf("%s: %q does not name %s", name, a, want)
		}
	}
	conn := listenUDP(t)
	defer conn.Close()
	if _, err := skel.Progs.ByNumber.AttachSocket(conn); err != nil {
		t.Fatal(err)
	}
	if _, err := skel.Progs.BySuffix.AttachXDP(loopback, &skeleton.XDPOptions{Mode: skeleton.XDPGeneric}); err != nil {
		t.Fatal(err)
	}
	if _, err := skel.Progs.ByPath.AttachTC(loopback, skeleton.TCEgress, nil); err != nil {
		t.Fatal(err)
	}
	sendTo(t, conn)
	b := skel.Bss
	if atomic.LoadUint64(&b.Numbered) == 0 || atomic.LoadUint64(&b.Entered) == 0 || atomic.LoadUint64(&b.Classified) == 0 {
		t.Errorf("the programs ran %d, %d and %d times", b.Numbered, b.Entered, b.Classified)
	}
}

func reasonOf(t *testing.T, list []skeleton.Attachment, name string) string {
	t.Helper()
	for _, a := range list {
		if a.Name == name {
			return a.Reason
		}
	}
	t.Fatalf("Attachments does not tell of program %s", name)
	return ""
}
