package bpftarget_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/tool/internal/bpftarget"
)

func describe(targets []bpftarget.Target) string {
	var out []string
	for _, t := range targets {
		out = append(out, fmt.Sprintf("%s %s %v %s", t.Suffix, t.Clang, t.Defines, t.Constraint()))
	}
	return strings.Join(out, "\n")
}

func TestParse(t *testing.T) {
	for _, tt := range []struct{ list, want string }{
		{"bpfel,bpfeb", "bpfel bpfel [] 386 || amd64 || arm || arm64 || loong64 || mips64le || mipsle || ppc64le || riscv64\nbpfeb bpfeb [] mips || mips64 || ppc64 || s390x"},
		{"amd64,arm64", "x86_bpfel bpfel [__TARGET_ARCH_x86] 386 || amd64\narm64_bpfel bpfel [__TARGET_ARCH_arm64] arm64"},
		{"386,amd64", "x86_bpfel bpfel [__TARGET_ARCH_x86] 386 || amd64"},
		{"bpfel,amd64", "bpfel bpfel [] arm || arm64 || loong64 || mips64le || mipsle || ppc64le || riscv64\nx86_bpfel bpfel [__TARGET_ARCH_x86] 386 || amd64"},
		{"mipsle", "mips_bpfel bpfel [__TARGET_ARCH_mips __MIPSEL__ _MIPS_SZLONG=32 _MIPS_SZPTR=32 _MIPS_SIM=1 __SANE_USERSPACE_TYPES__] mipsle"},
	} {
		targets, notes, err := bpftarget.Parse(tt.list)
		if got := describe(targets); err != nil || got != tt.want || notes != nil {
			t.Errorf("%s: got %s, notes %q, error %v, want %s", tt.list, got, notes, err, tt.want)
		}
	}
	for _, list := range []string{"native", "bpf"} {
		targets, notes, err := bpftarget.Parse(list)
		if err != nil || len(targets) != 1 || (list == "bpf") != (len(notes) == 1) {
			t.Errorf("%s: got %v, notes %q, error %v", list, targets, notes, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct{ list, want string }{
		{"", `target "": there is no such target`},
		{"bpfel,", `target "": there is no such target`},
		{"sparc64", `target "sparc64": there is no such target: the targets are bpfel, bpfeb, native, 386`},
		{"bpfel,bpf", "target bpf: other targets of the list are for all of its machines"},
		{"mips,mips64,ppc64,s390x,bpfeb", "target bpfeb: other targets"},
	} {
		if _, _, err := bpftarget.Parse(tt.list); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got error %v, want %q", tt.list, err, tt.want)
		}
	}
}

// Every machine that Go has Linux for is in exactly one of the two byte orders.
func TestEveryGOARCH(t *testing.T) {
	out, err := exec.Command("go", "tool", "dist", "list").Output()
	if err != nil {
		t.Skipf("needs the command go: %v", err)
	}
	targets, _, err := bpftarget.Parse("bpfel,bpfeb")
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Concat(targets[0].GOARCHs, targets[1].GOARCHs)
	slices.Sort(all)
	var want []string
	for _, line := range strings.Fields(string(out)) {
		if arch, ok := strings.CutPrefix(line, "linux/"); ok {
			want = append(want, arch)
		}
	}
	slices.Sort(want)
	if !slices.Equal(all, want) {
		t.Errorf("got %v, want %v", all, want)
	}
}
