package probe

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

func TestVariants(t *testing.T) {
	for _, v := range Variants() {
		t.Run(v.String(), func(t *testing.T) {
			skel, err := skeleton.LoadFirst(Open, v)
			if errors.Is(err, fs.ErrPermission) {
				t.Skipf("needs the right to load BPF: %v", err)
			} else if err != nil {
				t.Fatal(err)
			}
			defer skel.Close()
			if _, err := skel.Progs.Probe.Program().Run(&ebpf.RunOptions{Data: make([]byte, 64)}); err != nil {
				t.Fatal(err)
			}
			if v == Plain {
				if skel.Bss.Packets != nil || skel.Bss.LastCounting != nil || *skel.Bss.LastPlain != (PacketPlain{Length: 64}) {
					t.Errorf("%+v", skel.Bss)
				}
				return
			}
			if *skel.Bss.Packets != 1 || skel.Bss.LastPlain != nil || *skel.Bss.LastCounting != (PacketCounting{Length: 64, Number: 1}) {
				t.Errorf("%+v", skel.Bss)
			}
		})
	}
}
