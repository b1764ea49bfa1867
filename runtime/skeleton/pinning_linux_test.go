package skeleton

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// What another loader's numbers mean for pinning, only the user can say.
func TestPinningOfAnotherLoader(t *testing.T) {
	bpftest.NeedsBPFFS(t)
	spec := func(name string, pinning ebpf.PinType) *ebpf.MapSpec {
		return &ebpf.MapSpec{Name: name, Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1, Pinning: pinning}
	}
	o := newTestObject(t, []*ebpf.MapSpec{spec("global_ns", 100), spec("plain", ebpf.PinNone), spec("by_path", 16)})
	err := o.Load()
	for _, want := range []string{
		"map by_path: __uint(pinning, 16) is that of another loader: before Load, call SetPinning of the map with ebpf.PinByName, or with ebpf.PinNone and call Map().Pin after Load",
		"map global_ns: __uint(pinning, 100) is that of another loader",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in the error %v", want, err)
		}
	}
	other, err := ebpf.NewMap(spec("other", ebpf.PinNone))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := o.maps[2].SetPinning(ebpf.PinNone); err != nil {
		t.Fatal(err)
	}
	// A map that is used in the place of a new one is not pinned.
	if err := o.LoadWithOptions(LoadOptions{Maps: map[string]*ebpf.Map{"global_ns": other}}); err != nil {
		t.Error(err)
	}
}
