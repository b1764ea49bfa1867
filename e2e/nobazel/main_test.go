package main

import (
	"errors"
	"io/fs"
	"runtime"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
)

func TestLimit(t *testing.T) {
	skel, err := openEdge()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	lib := skel.Subskeletons.Limit
	setLimit(lib, 2)
	load(t, skel.Load())
	for i, want := range []edgeVerdict{edgeVerdictPass, edgeVerdictPass, edgeVerdictDrop} {
		if _, err := skel.Progs.Edge.Program().Run(&ebpf.RunOptions{Data: make([]byte, 64)}); err != nil {
			t.Fatal(err)
		}
		if skel.Bss.Last != want {
			t.Errorf("packet %d: %v, want %v", i, skel.Bss.Last, want)
		}
	}
	if *lib.Bss.Packets != 3 {
		t.Errorf("the library counted %d packets, want 3", *lib.Bss.Packets)
	}
}

func TestCPU(t *testing.T) {
	skel, err := OpenCPU()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	load(t, skel.Load())
	got := strings.TrimRight(string(skel.Data.Cpu[:]), "\x00")
	if want := map[string]string{"amd64": "x86", "arm64": "arm64"}[runtime.GOARCH]; want != "" && got != want {
		t.Errorf("compiled for %s, want %s", got, want)
	}
}

// load fails the test for an error of Load, and skips it where BPF is not allowed.
func load(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, fs.ErrPermission) {
		t.Skipf("needs the right to load BPF programs: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}
