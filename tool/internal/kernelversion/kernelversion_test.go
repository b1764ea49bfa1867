package kernelversion_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/internal/subskel"
	"github.com/rules-bpf/rules_bpf/tool/internal/kernelversion"
)

func TestFind(t *testing.T) {
	const oldest = ", the oldest that was read"
	for _, tt := range []struct {
		kind   kernelversion.Kind
		number int
		want   kernelversion.Fact
	}{
		{kernelversion.Helper, 1, kernelversion.Fact{"bpf_map_lookup_elem", "4.1", "bpf.h of Linux 4.1" + oldest}},
		{kernelversion.Helper, 126, kernelversion.Fact{"bpf_seq_printf", "5.8", "bpf.h of Linux 5.8"}},
		{kernelversion.Helper, 181, kernelversion.Fact{"bpf_loop", "5.17", "bpf.h of Linux 5.17"}},
		{kernelversion.Helper, 211, kernelversion.Fact{"bpf_cgrp_storage_delete", "6.2", "bpf.h of Linux 6.2"}},
		{kernelversion.MapType, 27, kernelversion.Fact{"BPF_MAP_TYPE_RINGBUF", "5.8", "bpf.h of Linux 5.8"}},
		{kernelversion.ProgType, 32, kernelversion.Fact{"BPF_PROG_TYPE_NETFILTER", "6.4", "bpf.h of Linux 6.4"}},
		{kernelversion.MapFlag, 10, kernelversion.Fact{"BPF_F_MMAPABLE", "5.5", "bpf.h of Linux 5.5"}},
	} {
		if got, ok := kernelversion.Find(tt.kind, tt.number); !ok || got != tt.want {
			t.Errorf("%s %d: got %v, %v, want %v", tt.kind, tt.number, got, ok, tt.want)
		}
	}
	for _, number := range []int{-1, 0, 100_000} {
		if got, ok := kernelversion.Find(kernelversion.Helper, number); ok {
			t.Errorf("helper %d is %v", number, got)
		}
	}
	if got := kernelversion.Missing(); !strings.HasPrefix(got, "bpf.h of Linux ") {
		t.Errorf("missing: %q", got)
	}
}

// Two tables of the same facts agree: no form of SEC() is older than its program type, and
// map types have the same names.
func TestAgreement(t *testing.T) {
	number := func(version string) int {
		major, minor, _ := strings.Cut(version, ".")
		x, _ := strconv.Atoi(major)
		y, err := strconv.Atoi(minor)
		if err != nil {
			t.Fatalf("version %q", version)
		}
		return x<<16 | y
	}
	for _, f := range secdef.Forms() {
		// The oldest of the table are older still.
		fact, ok := kernelversion.Find(kernelversion.ProgType, int(f.Type))
		if !ok || number(f.Since) < number(fact.Since) && !strings.HasSuffix(fact.Rule, "read") {
			t.Errorf("SEC(%q) since %s, %v, %v", f.Name(), f.Since, fact, ok)
		}
	}
	for typ := ebpf.Hash; ; typ++ {
		fact, ok := kernelversion.Find(kernelversion.MapType, int(typ))
		name := subskel.MapTypeName(typ)
		if !ok || !strings.HasPrefix(name, "BPF_") {
			if typ <= ebpf.Arena {
				t.Errorf("%v: %v, %q", typ, fact, name)
			}
			break
		}
		if fact.Name != name {
			t.Errorf("%v: %q and %q", typ, fact.Name, name)
		}
	}
}
