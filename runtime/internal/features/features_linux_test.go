package features

import (
	"errors"
	"testing"

	ciliumfeatures "github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// forget makes the features unknown.
func forget(t *testing.T) {
	t.Helper()
	probes = [count]probe{}
}

// The kernel has what its version brought.
func TestHas(t *testing.T) {
	bpftest.NeedsBPF(t)
	version, err := ciliumfeatures.LinuxVersionCode()
	if err != nil {
		t.Fatal(err)
	}
	for f, since := range map[Feature]uint32{
		BTF:             4<<16 | 18<<8,
		Func:            5 << 16,
		DataSec:         5<<16 | 2<<8,
		EmptyDataSec:    5<<16 | 12<<8,
		GlobalFunc:      5<<16 | 6<<8,
		Float:           5<<16 | 13<<8,
		DeclTag:         5<<16 | 16<<8,
		TypeTag:         5<<16 | 17<<8,
		Enum64:          6 << 16,
		QuestionMark:    6<<16 | 9<<8,
		Mmapable:        5<<16 | 5<<8,
		ArgCtx:          6<<16 | 8<<8,
		ProbeReadKernel: 5<<16 | 5<<8,
	} {
		yes, err := Has(f)
		if err != nil || yes != (version >= since) {
			t.Errorf("%v: %t, %v", f, yes, err)
		}
	}
}

// What a try says about the process is not remembered.
func TestUnknown(t *testing.T) {
	bpftest.NeedsBPF(t)
	forget(t)
	for _, errno := range []unix.Errno{unix.EPERM, unix.EMFILE, unix.ENFILE, unix.ENOMEM} {
		for f := range count {
			restore := sys.SetFault(func(sys.Cmd) error { return errno })
			_, err := Has(f)
			restore()
			if !errors.Is(err, errno) {
				t.Errorf("%v, %v: %v", f, errno, err)
			}
		}
	}
	for f := range count {
		first, err := Has(f)
		if err != nil {
			t.Fatal(err)
		}
		restore := sys.SetFault(func(sys.Cmd) error { t.Errorf("%v is tried again", f); return nil })
		again, err := Has(f)
		restore()
		if err != nil || again != first {
			t.Errorf("%v: %t, then %t, %v", f, first, again, err)
		}
	}
}

// A kernel that refuses is remembered, and one whose second call fails is not.
func TestRefused(t *testing.T) {
	bpftest.NeedsKernel(t, 5, 16, "tags")
	bpftest.NeedsBPF(t)
	forget(t)
	defer forget(t)
	calls := 0
	restore := sys.SetFault(func(sys.Cmd) error {
		if calls++; calls == 2 {
			return unix.EMFILE
		}
		return nil
	})
	_, err := Has(ArgCtx)
	restore()
	if !errors.Is(err, unix.EMFILE) || calls != 2 {
		t.Errorf("%d calls, %v", calls, err)
	}
	restore = sys.SetFault(func(sys.Cmd) error { return unix.EINVAL })
	yes, err := Has(ArgCtx)
	restore()
	if yes || err != nil {
		t.Errorf("%t, %v", yes, err)
	}
	if yes, err := Has(ArgCtx); yes || err != nil {
		t.Errorf("%t, %v", yes, err)
	}
}

// A process without the right is no news of the kernel.
func TestWithoutRights(t *testing.T) {
	bpftest.NeedsBPF(t)
	forget(t)
	err := kerneltest.AsUser(t, func() error { _, err := Has(Float); return err })
	if !errors.Is(err, unix.EPERM) {
		t.Errorf("%v", err)
	}
	if _, err := Has(Float); err != nil {
		t.Error(err)
	}
}
