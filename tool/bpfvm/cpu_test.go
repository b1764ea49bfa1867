//go:build linux

package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func cpuNamed(t *testing.T, name string) *cpu {
	t.Helper()
	for _, c := range cpus {
		if c.name == name {
			return c
		}
	}
	t.Fatalf("no cpu %s", name)
	return nil
}

func TestVirtualizes(t *testing.T) {
	for _, tc := range []struct {
		cpu, cpuinfo string
		want         bool
	}{
		{"x86_64", "processor\t: 0\nflags\t\t: fpu vmx sse\nvmx flags\t: ept\n", true},
		{"x86_64", "flags\t\t: fpu svm\n", true},
		{"x86_64", "flags\t\t: fpu hypervisor svm_lock\nbugs\t: vmx\n", false},
		{"x86_64", "", false},
		{"s390x", "features\t: esan3 zarch sie\n", true},
		{"s390x", "features\t: esan3 zarch\n", false},
		// Whether it does is known by /dev/kvm alone.
		{"arm64", "Features\t: fp asimd\n", true},
	} {
		if got := cpuNamed(t, tc.cpu).virtualizes(tc.cpuinfo); got != tc.want {
			t.Errorf("%s: %q: %t, want %t", tc.cpu, tc.cpuinfo, got, tc.want)
		}
	}
}

// KVM is for kernels of the machine's CPU alone.
func TestAcceleratorsOfOthers(t *testing.T) {
	for _, c := range cpus {
		if got := c.accelerators(); !c.native() && (len(got) != 1 || got[0] != tcg) {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

// executable writes an ELF file without any code.
func executable(t *testing.T, machine elf.Machine, class elf.Class, order binary.ByteOrder, interpreter string) string {
	t.Helper()
	var b bytes.Buffer
	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: 1, Ehsize: 64, Phentsize: 56, Shentsize: 64}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(class), byte(elf.ELFDATA2LSB), 1
	if order == binary.BigEndian {
		h.Ident[elf.EI_DATA] = byte(elf.ELFDATA2MSB)
	}
	if interpreter != "" {
		h.Phoff, h.Phnum = 64, 1
	}
	_ = binary.Write(&b, order, h)
	if interpreter != "" {
		size := uint64(len(interpreter))
		_ = binary.Write(&b, order, elf.Prog64{Type: uint32(elf.PT_INTERP), Off: 64 + 56, Filesz: size, Memsz: size})
		b.WriteString(interpreter)
	}
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, b.Bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCPUOf(t *testing.T) {
	for _, tc := range []struct {
		machine elf.Machine
		class   elf.Class
		order   binary.ByteOrder
		want    string
	}{
		{elf.EM_X86_64, elf.ELFCLASS64, binary.LittleEndian, "x86_64"},
		{elf.EM_AARCH64, elf.ELFCLASS64, binary.LittleEndian, "arm64"},
		{elf.EM_RISCV, elf.ELFCLASS64, binary.LittleEndian, "riscv64"},
		{elf.EM_S390, elf.ELFCLASS64, binary.BigEndian, "s390x"},
		{elf.EM_PPC64, elf.ELFCLASS64, binary.BigEndian, ""},
	} {
		c, err := cpuOf(executable(t, tc.machine, tc.class, tc.order, ""))
		switch {
		case tc.want == "" && (err == nil || !strings.Contains(err.Error(), "boots kernels for x86_64, arm64, riscv64, s390x")):
			t.Errorf("%v: %v", tc.machine, err)
		case tc.want != "" && (err != nil || c.name != tc.want):
			t.Errorf("%v: %v, %v", tc.machine, c, err)
		}
	}
	if _, err := cpuOf("cpu_test.go"); err == nil {
		t.Error("takes a text for an executable")
	}
}

// Libraries of this machine are no use on another.
func TestCheckLibraries(t *testing.T) {
	for _, c := range cpus {
		linked := executable(t, c.machine, elf.ELFCLASS64, binary.LittleEndian, "/lib/ld.so\x00")
		if err := c.checkLibraries(linked); (err == nil) != c.native() || err != nil && !strings.Contains(err.Error(), "CGO_ENABLED=0") {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := c.checkLibraries(executable(t, c.machine, elf.ELFCLASS64, binary.LittleEndian, "")); err != nil {
			t.Error(err)
		}
	}
}

// image returns the beginning of a kernel, with a text at an offset.
func image(offset int, magic string) []byte {
	return append(make([]byte, offset), magic...)
}

func TestCheckKernel(t *testing.T) {
	for _, tc := range []struct {
		head []byte
		// cpus are those whose kernel it may be.
		cpus string
	}{
		{image(0x202, "HdrS"), "x86_64"},
		{image(0x38, "ARM\x64"), "arm64"},
		{image(0x38, "RSC\x05"), "riscv64"},
		{image(0x10008, "S390EP"), "s390x"},
		{[]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xf3\x00"), "riscv64"},
		{[]byte("\x7fELF\x02\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x16"), "s390x"},
		{[]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x15\x00"), ""},
		{[]byte("\x1f\x8bpacked"), "x86_64 arm64 riscv64 s390x"},
		{nil, "x86_64 arm64 riscv64 s390x"},
	} {
		path := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(path, tc.head, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, c := range cpus {
			err := c.checkKernel(path, "x.test")
			if want := strings.Contains(tc.cpus, c.name); (err == nil) != want {
				t.Errorf("%q for %s: %v", tc.cpus, c.name, err)
			}
			if err != nil && !strings.Contains(err.Error(), "x.test is for "+c.name) {
				t.Error(err)
			}
		}
	}
}
