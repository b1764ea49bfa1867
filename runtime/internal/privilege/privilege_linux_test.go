package privilege

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
)

// The numbers are the kernel's, which package unix knows on Linux alone.
func TestNumbers(t *testing.T) {
	for c, want := range map[Cap]Cap{NetAdmin: unix.CAP_NET_ADMIN, SysAdmin: unix.CAP_SYS_ADMIN, Perfmon: unix.CAP_PERFMON, BPF: unix.CAP_BPF} {
		if c != want {
			t.Errorf("%v is %d, want %d", c, int(c), int(want))
		}
	}
	if got := Cap(3).String(); got != "capability 3" {
		t.Errorf("another capability is %q", got)
	}
}

// CAP_SYS_ADMIN stands for all others, and is asked for where the kernel does not know one.
func TestMissing(t *testing.T) {
	with := func(caps ...Cap) (s set) {
		for _, c := range caps {
			s |= 1 << c
		}
		return s
	}
	const unknown = Cap(63)
	for _, tc := range []struct {
		has    set
		needed []Cap
		want   []Cap
	}{
		{with(), nil, nil},
		{with(), []Cap{BPF, Perfmon}, []Cap{BPF, Perfmon}},
		{with(BPF), []Cap{BPF, Perfmon}, []Cap{Perfmon}},
		{with(BPF, Perfmon), []Cap{BPF, Perfmon}, nil},
		{with(SysAdmin), []Cap{BPF, NetAdmin, unknown}, nil},
		{with(), []Cap{BPF, BPF}, []Cap{BPF}},
		{with(NetAdmin), []Cap{unknown, NetAdmin, unknown}, []Cap{SysAdmin}},
	} {
		if !kernelHas(BPF) || kernelHas(unknown) {
			t.Skip("needs a kernel with CAP_BPF (5.8)")
		}
		if got := tc.has.missing(tc.needed); !slices.Equal(got, tc.want) {
			t.Errorf("%#x lacks %v for %v, want %v", tc.has, got, tc.needed, tc.want)
		}
	}
}

// Lists as sentences, commands and options have them.
func TestLists(t *testing.T) {
	for _, tc := range []struct {
		caps                 []Cap
		words, docker, setca string
	}{
		{nil, "", "", ""},
		{[]Cap{BPF}, "CAP_BPF", "BPF", "cap_bpf"},
		{[]Cap{BPF, Perfmon}, "CAP_BPF and CAP_PERFMON", "BPF --cap-add PERFMON", "cap_bpf,cap_perfmon"},
		{[]Cap{BPF, NetAdmin, Perfmon}, "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON", "BPF --cap-add NET_ADMIN --cap-add PERFMON", "cap_bpf,cap_net_admin,cap_perfmon"},
	} {
		if got := join(tc.caps); got != tc.words {
			t.Errorf("join(%v) = %q", tc.caps, got)
		}
		if got := capAdd(tc.caps); got != tc.docker {
			t.Errorf("capAdd(%v) = %q", tc.caps, got)
		}
		if got := setcap(tc.caps); got != tc.setca {
			t.Errorf("setcap(%v) = %q", tc.caps, got)
		}
	}
}

// What files of the kernel say.
func TestFiles(t *testing.T) {
	for uidMap, want := range map[string]bool{
		"         0          0 4294967295\n":                                   true,
		"         0       1000          1\n":                                   false,
		"         0          0 4294967294\n":                                   false,
		"         0          0       1000\n      1000       1000 4294966295\n": false,
		"": false,
	} {
		if got := isInitial(uidMap); got != want {
			t.Errorf("uid_map %q: initial: %t", uidMap, got)
		}
	}
	for list, want := range map[string][]string{
		"":                          nil,
		"\n":                        nil,
		"capability":                {"capability"},
		"lockdown,capability,bpf\n": {"lockdown", "capability", "bpf"},
		"lockdown,capability\x00\n": {"lockdown", "capability"},
	} {
		if got := parseLSMs(list); !slices.Equal(got, want) {
			t.Errorf("lsm %q: %q, want %q", list, got, want)
		}
	}
	for status, want := range map[string]bool{
		"Name:\ta\nSeccomp:\t2\nSeccomp_filters:\t1\n": true,
		"Name:\ta\nSeccomp:\t0\nSeccomp_filters:\t0\n": false,
		"Name:\ta\n": false,
	} {
		if got := isFiltered(status); got != want {
			t.Errorf("status %q: filtered: %t", status, got)
		}
	}
}

// A thread is told what it lacks, and what else there is when it lacks nothing.
func TestExplain(t *testing.T) {
	if !InInitialUserNamespace() {
		t.Skip("needs the initial user namespace")
	}
	if !kernelHas(BPF) {
		t.Skip("needs a kernel with CAP_BPF (5.8)")
	}
	var has bool
	var text string
	err := kerneltest.AsUser(t, func() error {
		has, text = Has(BPF), Explain(BPF, Perfmon)
		return nil
	}, unix.CAP_BPF)
	if err != nil {
		t.Fatal(err)
	}
	if !has || !strings.HasPrefix(text, "this process lacks CAP_PERFMON: ") || !strings.Contains(text, "setcap cap_perfmon+ep") {
		t.Errorf("with CAP_BPF: has it %t, %q", has, text)
	}
	err = kerneltest.AsUser(t, func() error {
		has, text = Has(BPF), Explain(BPF)
		return nil
	}, unix.CAP_BPF)
	if err != nil {
		t.Fatal(err)
	}
	if !has || !strings.HasPrefix(text, "refused by this kernel, though the process has CAP_BPF: ") {
		t.Errorf("with all that is needed: has it %t, %q", has, text)
	}
	if got := fmt.Sprint(Explain()); !strings.HasPrefix(got, "refused by this kernel: ") {
		t.Errorf("with nothing needed: %q", got)
	}
}
