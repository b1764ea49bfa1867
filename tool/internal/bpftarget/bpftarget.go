// Package bpftarget knows for which machines BPF programs are compiled, and which Go
// files are for which of them.
//
// BPF's instructions are the same everywhere. A generic target, bpfel or bpfeb, is one of the
// two byte orders. An architecture's target also has what C programs take from macros: the
// registers that libbpf's bpf_tracing.h reads, the constants of asm headers.
package bpftarget

import (
	"errors"
	"fmt"
	"go/build/constraint"
	"runtime"
	"slices"
	"strings"
)

// A Target is what one object is compiled for.
type Target struct {
	// Clang is the name that clang has for it: bpfel or bpfeb.
	Clang string
	// Suffix ends the names of its Go files, as bpf2go has it. Go's rules for the ends of file
	// names do not apply to it.
	Suffix string
	// Defines are macros, NAME or NAME=VALUE. A generic target has none.
	Defines []string
	// GOARCHs are those on which the object runs, sorted.
	GOARCHs []string
}

// Generic reports whether the target is a byte order and nothing more.
func (t *Target) Generic() bool { return len(t.Defines) == 0 }

// Constraint returns the expression of a //go:build line for the Go file.
func (t *Target) Constraint() constraint.Expr {
	var expr constraint.Expr
	for _, arch := range t.GOARCHs {
		expr = or(expr, &constraint.TagExpr{Tag: arch})
	}
	return expr
}

func or(x, y constraint.Expr) constraint.Expr {
	if x == nil {
		return y
	}
	return &constraint.OrExpr{X: x, Y: y}
}

// machine is a GOARCH.
type machine struct {
	name, clang string
	// suffix is that of the files, without the byte order.
	suffix  string
	defines []string
}

// mips has macros by which asm headers tell the ABIs apart, as rules/private/cpus.bzl
// has them.
func mips(order string, bits int) []string {
	sim := 1
	if bits == 64 {
		sim = 3
	}
	return []string{
		"__TARGET_ARCH_mips", order, fmt.Sprintf("_MIPS_SZLONG=%d", bits), fmt.Sprintf("_MIPS_SZPTR=%d", bits),
		fmt.Sprintf("_MIPS_SIM=%d", sim), "__SANE_USERSPACE_TYPES__",
	}
}

func arch(name string) []string { return []string{"__TARGET_ARCH_" + name} }

// machines are the GOARCHs that Linux has. Those of one suffix and byte order share an
// object.
var machines = []machine{
	{"386", "bpfel", "x86", arch("x86")},
	{"amd64", "bpfel", "x86", arch("x86")},
	{"arm", "bpfel", "arm", append(arch("arm"), "__ARM_EABI__")},
	{"arm64", "bpfel", "arm64", arch("arm64")},
	{"loong64", "bpfel", "loongarch", arch("loongarch")},
	{"mips", "bpfeb", "mips", mips("__MIPSEB__", 32)},
	{"mips64", "bpfeb", "mips64", mips("__MIPSEB__", 64)},
	{"mips64le", "bpfel", "mips64", mips("__MIPSEL__", 64)},
	{"mipsle", "bpfel", "mips", mips("__MIPSEL__", 32)},
	{"ppc64", "bpfeb", "powerpc", arch("powerpc")},
	{"ppc64le", "bpfel", "powerpc", arch("powerpc")},
	{"riscv64", "bpfel", "riscv", arch("riscv")},
	{"s390x", "bpfeb", "s390", arch("s390")},
}

// Names lists what Parse takes.
func Names() string {
	names := []string{"bpfel", "bpfeb", "native"}
	for _, m := range machines {
		names = append(names, m.name)
	}
	return strings.Join(names, ", ")
}

// Suffixes lists the suffixes that targets have, each once.
func Suffixes() []string {
	all := []string{"bpf", "bpfel", "bpfeb"}
	for _, m := range machines {
		if suffix := m.fileSuffix(); !slices.Contains(all, suffix) {
			all = append(all, suffix)
		}
	}
	return all
}

func (m *machine) fileSuffix() string { return m.suffix + "_" + m.clang }

// Parse reads a list of targets, separated by commas: bpfel, bpfeb, native for the machine that
// it runs on, and GOARCHs. GOARCHs that can share an object are one target. A generic target is
// for the GOARCHs that no other of the list is for.
//
// The name bpf stands for the byte order of the machine that it runs on, as clang has it;
// notes says what that means.
func Parse(list string) (targets []Target, notes []string, err error) {
	for name := range strings.SplitSeq(list, ",") {
		t, note, err := find(strings.TrimSpace(name))
		if err != nil {
			return nil, nil, err
		}
		if note != "" {
			notes = append(notes, note)
		}
		if !slices.ContainsFunc(targets, func(other Target) bool { return other.Suffix == t.Suffix }) {
			targets = append(targets, t)
		}
	}
	taken := make(map[string]string)
	for _, generic := range []bool{false, true} {
		for i := range targets {
			t := &targets[i]
			if t.Generic() != generic {
				continue
			}
			t.GOARCHs = slices.DeleteFunc(t.GOARCHs, func(arch string) bool { return taken[arch] != "" })
			if len(t.GOARCHs) == 0 {
				return nil, nil, fmt.Errorf("target %s: other targets of the list are for all of its machines: leave it out", t.Suffix)
			}
			for _, arch := range t.GOARCHs {
				taken[arch] = t.Suffix
			}
		}
	}
	return targets, notes, nil
}

// find returns the target called name.
func find(name string) (t Target, note string, err error) {
	switch name {
	case "bpf":
		m, _ := machineOf(runtime.GOARCH)
		if m.clang == "" {
			return Target{}, "", errors.New("target bpf: has the byte order of this machine, which Linux does not have: use bpfel, bpfeb or both")
		}
		t, _, err := find(m.clang)
		t.Suffix = "bpf"
		return t, fmt.Sprintf("target bpf: has the byte order of this machine, and so the file is for %s: say bpfel,bpfeb for all", strings.Join(t.GOARCHs, ", ")), err
	case "bpfel", "bpfeb":
		t := Target{Clang: name, Suffix: name}
		for _, m := range machines {
			if m.clang == name {
				t.GOARCHs = append(t.GOARCHs, m.name)
			}
		}
		return t, "", nil
	case "native":
		name = runtime.GOARCH
	}
	m, ok := machineOf(name)
	if !ok {
		return Target{}, "", fmt.Errorf("target %q: there is no such target: the targets are %s", name, Names())
	}
	t = Target{Clang: m.clang, Suffix: m.fileSuffix(), Defines: m.defines}
	for _, other := range machines {
		if other.suffix == m.suffix && other.clang == m.clang {
			t.GOARCHs = append(t.GOARCHs, other.name)
		}
	}
	return t, "", nil
}

func machineOf(goarch string) (machine, bool) {
	for _, m := range machines {
		if m.name == goarch {
			return m, true
		}
	}
	return machine{}, false
}
