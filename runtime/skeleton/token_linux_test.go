package skeleton

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

const tokenVariable = "LIBBPF_BPF_TOKEN_PATH"

// loadCounter loads an object with a map, BTF and a program for XDP, and says how it went.
func loadCounter(t *testing.T, opts LoadOptions) error {
	t.Helper()
	specs := []*ebpf.MapSpec{{Name: "packets", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: maxInterfaces}}
	o := openTestObject(t, specs, newCounter("counter"))
	defer o.Close()
	if err := o.LoadWithOptions(opts); err != nil {
		return err
	}
	if err := o.maps[0].putElement(unsafe.Pointer(new(uint32)), unsafe.Pointer(new(uint64)), nil); err != nil {
		t.Error(err)
	}
	return nil
}

// wantRefusal checks that an error has all the texts.
func wantRefusal(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", texts)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error without %q: %v", text, err)
		}
	}
}

// A process in a user namespace of its own loads with what it has been delegated, wherever it
// is told so.
func TestToken(t *testing.T) {
	if !bpftest.InContainer(t, bpftest.DelegateAll()) {
		return
	}
	if err := loadCounter(t, LoadOptions{}); err != nil {
		t.Errorf("by /sys/fs/bpf: %v", err)
	}
	if err := loadCounter(t, LoadOptions{TokenPath: "/sys/fs/bpf"}); err != nil {
		t.Errorf("by path: %v", err)
	}
	wantRefusal(t, loadCounter(t, LoadOptions{TokenPath: "/proc"}), "make a BPF token from /proc", "no bpffs mounted", "systemd:")
	wantRefusal(t, loadCounter(t, LoadOptions{TokenPath: "/nowhere"}), "/nowhere", "no such file", "systemd:")
	wantRefusal(t, loadCounter(t, LoadOptions{TokenPath: "/proc/self/exe"}), "not a directory")

	t.Setenv(tokenVariable, "/sys/fs/bpf")
	if err := loadCounter(t, LoadOptions{}); err != nil {
		t.Errorf("by variable: %v", err)
	}
	if err := unix.Mkdir("/sys/fs/bpf/inner", 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv(tokenVariable, "/sys/fs/bpf/inner")
	wantRefusal(t, loadCounter(t, LoadOptions{}), tokenVariable, "not where that is mounted")
	t.Setenv(tokenVariable, "")
	wantRefusal(t, loadCounter(t, LoadOptions{}), "user namespace of its own")
}

// Maps that are made after Load have the token too.
func TestTokenOfInnerMap(t *testing.T) {
	if !bpftest.InContainer(t, bpftest.DelegateAll()) {
		return
	}
	inner := &ebpf.MapSpec{Name: "inner", Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 4}
	o := openTestObject(t, []*ebpf.MapSpec{inner}, newTestProgramOf(ebpf.XDP, "xdp", "f", 0))
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	made, err := o.loader.NewMap(o.maps[0].def)
	if err != nil {
		t.Fatal(err)
	}
	made.Close()
	if err := o.Close(); err != nil {
		t.Error(err)
	}
}

// What is not delegated is named.
func TestTokenForLess(t *testing.T) {
	if !bpftest.InContainer(t, bpftest.Delegation{"delegate_cmds": "any", "delegate_maps": "any", "delegate_progs": "kprobe"}) {
		return
	}
	wantRefusal(t, loadCounter(t, LoadOptions{}), "program counter", "does not delegate it", "/sys/fs/bpf", "delegate_progs=kprobe")
}

// Where nothing is delegated, the error says how to get a token.
func TestNoToken(t *testing.T) {
	if !bpftest.InContainer(t, nil) {
		return
	}
	bpftest.NeedsKernel(t, 6, 9, "BPF tokens")
	wantRefusal(t, loadCounter(t, LoadOptions{}), "user namespace of its own", "TokenPath", "delegates nothing", "systemd:")
	wantRefusal(t, loadCounter(t, LoadOptions{TokenPath: "/sys/fs/bpf"}), "delegates nothing", "systemd:")
}

// In the initial user namespace there are no tokens.
func TestTokenForNobody(t *testing.T) {
	bpftest.NeedsBPFFS(t)
	bpftest.NeedsKernel(t, 6, 9, "BPF tokens")
	wantRefusal(t, loadCounter(t, LoadOptions{TokenPath: "/sys/fs/bpf"}), "in the initial user namespace")
}
