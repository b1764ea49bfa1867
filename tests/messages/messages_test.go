// Package messages_test provokes errors whose messages name the cause, with objects as
// users have them.
package messages_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/messages/progs/atomic"
	"github.com/rules-bpf/rules_bpf/tests/messages/progs/atomicv2"
	"github.com/rules-bpf/rules_bpf/tests/messages/progs/global"
	"github.com/rules-bpf/rules_bpf/tests/messages/progs/guard"
	"github.com/rules-bpf/rules_bpf/tests/messages/progs/prefixes"
)

// The default instruction set and the one for older kernels.
func TestInstructionSet(t *testing.T) {
	bpftest.NeedsBPF(t)
	version, err := features.LinuxVersionCode()
	if err != nil {
		t.Fatal(err)
	}
	skel, err := atomic.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	// Not with clang before 20.
	insns, err := skel.Progs.Count.Instructions()
	if err != nil {
		t.Fatal(err)
	}
	isNew := slices.ContainsFunc(insns, func(ins asm.Instruction) bool {
		return ins.OpCode.Class() == asm.StXClass && ins.OpCode.Mode() == asm.AtomicMode && ins.OpCode.AtomicOp() != asm.AddAtomic
	})
	err = skel.Load()
	if isNew && version < 5<<16|12<<8 {
		want := `the program has an atomic instruction (-mcpu=v3), which Linux 5.12 brought and this kernel, 5.10, does not have: compile it with copts = ["-mcpu=v2"]`
		var rejected *skeleton.VerifierError
		if !errors.As(err, &rejected) || rejected.Hint != want || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not contain %q", err, want)
		}
	} else if err != nil {
		t.Error(err)
	}

	old, err := atomicv2.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := old.Load(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := old.Progs.Count.Test(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	if old.Bss.Runs != 1 {
		t.Errorf("counted %d runs, want 1", old.Bss.Runs)
	}
}

// What docs/kernels.md says of functions of libraries.
func TestGlobalFunctions(t *testing.T) {
	bpftest.NeedsBPF(t)
	version, err := features.LinuxVersionCode()
	if err != nil {
		t.Fatal(err)
	}
	const never = 1 << 31
	for name, tc := range map[string]struct {
		prog func(*global.Progs) *skeleton.BaseProgram
		// since is the version whose verifier takes it, complaint what others say.
		since     uint32
		complaint string
	}{
		"scalar":    {func(p *global.Progs) *skeleton.BaseProgram { return p.CallsScalar.Handle() }, 5<<16 | 6<<8, ""},
		"context":   {func(p *global.Progs) *skeleton.BaseProgram { return p.CallsContext.Handle() }, 5<<16 | 6<<8, ""},
		"checked":   {func(p *global.Progs) *skeleton.BaseProgram { return p.CallsChecked.Handle() }, 5<<16 | 12<<8, "not supported"},
		"unchecked": {func(p *global.Progs) *skeleton.BaseProgram { return p.CallsUnchecked.Handle() }, never, ""},
		"nothing":   {func(p *global.Progs) *skeleton.BaseProgram { return p.CallsNothing.Handle() }, 7<<16 | 2<<8, "doesn't return scalar"},
	} {
		t.Run(name, func(t *testing.T) {
			skel, err := global.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer skel.Close()
			tc.prog(&skel.Progs).SetAutoload(true)
			err = skel.Load()
			if (err == nil) != (version >= tc.since) || err != nil && !strings.Contains(err.Error(), tc.complaint) {
				t.Errorf("%v", err)
			}
		})
	}
}

// A prefix that is longer than the key.
func TestLongPrefix(t *testing.T) {
	bpftest.NeedsBPF(t)
	skel, err := prefixes.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	routes := skel.Maps.Routes
	good := prefixes.Prefix{Length: 24, Address: [4]uint8{10, 0, 0}}
	if err := routes.Put(good, 1); err != nil {
		t.Fatal(err)
	}
	long := prefixes.Prefix{Length: 33, Address: [4]uint8{10, 0, 0}}
	const want = "map routes: the key's prefix has 33 bits, and the map's keys have 32: set prefixlen to 32 or less"
	for op, err := range map[string]error{"Put": routes.Put(long, 1), "Delete": routes.Delete(long)} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v does not contain %q", op, err, want)
		}
	}
	n, err := skeleton.PutBatch(routes, []prefixes.Prefix{good, long}, []uint64{1, 2})
	if errors.Is(err, ebpf.ErrNotSupported) {
		t.Skipf("needs a kernel with batches of tries (5.17): %v", err)
	}
	if err == nil || !strings.Contains(err.Error(), want) || n != 1 {
		t.Errorf("PutBatch: %d, %v, want 1 and %q", n, err, want)
	}
}

// Programs on hooks of security modules that nobody asks are not attached in silence.
// The kernels of this test have other modules, which its BUILD file names.
func TestInactiveLSM(t *testing.T) {
	bpftest.NeedsBPF(t)
	skel, err := guard.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	if err := skel.Load(); err != nil {
		bpftest.SkipIfRefused(t, "lsm", err)
		t.Fatal(err)
	}
	active, err := os.ReadFile("/sys/kernel/security/lsm")
	if err != nil {
		t.Skipf("needs securityfs: %v", err)
	}
	err = skel.Attach()
	if slices.Contains(strings.Split(string(active), ","), "bpf") {
		if err != nil {
			t.Error(err)
		}
		return
	}
	for _, want := range []string{`program guard, SEC("lsm/file_open")`, "add bpf to lsm=", string(active)} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not contain %q", err, want)
		}
	}
}
