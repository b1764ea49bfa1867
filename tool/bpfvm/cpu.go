//go:build linux

package main

import (
	"bytes"
	"debug/elf"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
)

// A cpu is what a kernel runs on, and how QEMU makes such a machine.
type cpu struct {
	// name is what people call it, in labels of kernels too.
	name    string
	goarch  string
	machine elf.Machine
	// board and model are QEMU's machine and CPU.
	board, model string
	// kvmBoard and kvmModel are those with KVM, where they differ.
	kvmBoard, kvmModel string
	// devices are the serial ports, for the character devices console and frames.
	devices []string
	// console is what the kernel calls the console, and port what the guest calls
	// the port of the frames.
	console, port string
	// panicsOnPort is true when a kernel which panics writes why on all ports.
	panicsOnPort bool
	// flags is the line of /proc/cpuinfo that has one of virtual where the CPU has
	// instructions for virtual machines. Without it, /dev/kvm is there only where
	// it works.
	flags   string
	virtual []string
}

// serialPorts are for boards that have two.
var serialPorts = []string{"-serial", "chardev:console", "-serial", "chardev:frames"}

var cpus = []*cpu{
	{
		name: "x86_64", goarch: "amd64", machine: elf.EM_X86_64,
		// microvm, the board that boots fastest, has no clock by which a kernel
		// can measure the speed of the CPU's own: on a host that is busy it then
		// stops at that. Of this one, what no test needs is off.
		board: "q35,hpet=on,sata=off,smbus=off,usb=off,vmport=off,graphics=off", model: "max",
		devices: append([]string{"-bios", "qboot.rom"}, serialPorts...),
		console: "ttyS0", port: "/dev/ttyS1",
		// On machines that are virtual themselves /dev/kvm may be there without
		// help from the CPU. It then runs only kernels that were made for that, and
		// others neither start nor end.
		flags: "flags", virtual: []string{"vmx", "svm"},
	},
	{
		name: "arm64", goarch: "arm64", machine: elf.EM_AARCH64,
		// Pointers are signed by a hash that is cheap to emulate.
		board: "virt", model: "max,pauth-impdef=on",
		kvmBoard: "virt,gic-version=host", kvmModel: "host",
		// The board has one port, of ARM's kind; a port of the PC's kind is beside it.
		devices: []string{"-serial", "chardev:console", "-device", "pci-serial,chardev=frames"},
		console: "ttyAMA0", port: "/dev/ttyS0",
	},
	{
		name: "riscv64", goarch: "riscv64", machine: elf.EM_RISCV,
		// Older QEMUs have no max.
		board: "virt", model: "rv64", kvmModel: "host",
		devices: []string{"-serial", "chardev:console", "-device", "pci-serial,chardev=frames"},
		console: "ttyS0", port: "/dev/ttyS1",
	},
	{
		name: "s390x", goarch: "s390x", machine: elf.EM_S390,
		board: "s390-ccw-virtio", model: "max",
		// The line-mode console is ttyS0. The other one takes all bytes as they are.
		devices: []string{"-device", "sclplmconsole,chardev=console", "-device", "sclpconsole,chardev=frames"},
		console: "ttyS0", port: "/dev/ttysclp0", panicsOnPort: true,
		flags: "features", virtual: []string{"sie"},
	},
}

// An emulator is QEMU for a CPU, which users have to install.
type emulator struct {
	// QEMU is the name of the executable, and Packages are those that have it.
	QEMU     string `json:"qemu"`
	Packages string `json:"packages"`
}

//go:embed emulators.json
var emulatorsJSON []byte

// emulator returns the CPU's. The file is for the rules as well, which look for
// them when a build begins.
func (c *cpu) emulator() emulator {
	var all map[string]emulator
	if err := json.Unmarshal(emulatorsJSON, &all); err != nil {
		// It is part of the executable, and a test reads it.
		panic(err)
	}
	return all[c.name]
}

func cpuNames() string {
	var names []string
	for _, c := range cpus {
		names = append(names, c.name)
	}
	return strings.Join(names, ", ")
}

// cpuOf returns the CPU that an executable is for.
func cpuOf(name string) (*cpu, error) {
	f, err := elf.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: build a Linux executable (GOOS=linux)", name, err)
	}
	defer f.Close()
	// Programs of all CPUs that bpfvm knows have 64 bits.
	if i := slices.IndexFunc(cpus, func(c *cpu) bool { return c.machine == f.Machine && f.Class == elf.ELFCLASS64 }); i >= 0 {
		return cpus[i], nil
	}
	return nil, fmt.Errorf("%s is for %v (%v), and bpfvm boots kernels for %s", name, f.Machine, f.Class, cpuNames())
}

// checkKernel returns an error when the image is a kernel for another CPU. Images of an unknown
// form are left to QEMU.
func (c *cpu) checkKernel(image, test string) error {
	f, err := os.Open(image)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, 0x10010)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", image, err)
	}
	if machine := imageMachine(head[:n]); machine != elf.EM_NONE && machine != c.machine {
		other := machine.String()
		if i := slices.IndexFunc(cpus, func(c *cpu) bool { return c.machine == machine }); i >= 0 {
			other = fmt.Sprintf("%s (GOARCH=%s)", cpus[i].name, cpus[i].goarch)
		}
		return fmt.Errorf("%s is a kernel for %s, and %s is for %s: build the test for the kernel's cpu, or take a kernel for the test's", image, other, test, c.name)
	}
	return nil
}

// imageMachine returns the CPU of a kernel that begins with head, or EM_NONE.
// The forms are those of Documentation/arch/*/boot*: bzImage, Image, and ELF.
func imageMachine(head []byte) elf.Machine {
	at := func(offset int, magic string) bool {
		return len(head) >= offset && bytes.HasPrefix(head[offset:], []byte(magic))
	}
	switch {
	case at(0x202, "HdrS"):
		return elf.EM_X86_64
	case at(0x38, "ARM\x64"):
		return elf.EM_AARCH64
	case at(0x38, "RSC\x05"):
		return elf.EM_RISCV
	case at(0x10008, "S390EP"):
		return elf.EM_S390
	case at(0, elf.ELFMAG):
		// The machine is at the same offset in all classes.
		if len(head) >= 20 && head[elf.EI_DATA] == byte(elf.ELFDATA2LSB) {
			return elf.Machine(uint16(head[18]) | uint16(head[19])<<8)
		}
		if len(head) >= 20 {
			return elf.Machine(uint16(head[19]) | uint16(head[18])<<8)
		}
	}
	return elf.EM_NONE
}

// native reports whether it is this machine's CPU.
func (c *cpu) native() bool { return c.goarch == runtime.GOARCH }

// accelerators returns what to try, in this order. Whether KVM works is known
// when it does: its device may be there and refuse what QEMU wants of it.
func (c *cpu) accelerators() []string {
	if !c.native() {
		return []string{tcg}
	}
	if info, err := os.ReadFile("/proc/cpuinfo"); err != nil || !c.virtualizes(string(info)) {
		return []string{tcg}
	}
	f, err := os.OpenFile(kvmDevice, os.O_RDWR, 0)
	if err != nil {
		return []string{tcg}
	}
	f.Close()
	return []string{kvm, tcg}
}

// virtualizes reports whether the machine that /proc/cpuinfo describes may have what KVM needs.
func (c *cpu) virtualizes(cpuinfo string) bool {
	if c.flags == "" {
		return true
	}
	for line := range strings.Lines(cpuinfo) {
		if name, flags, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == c.flags {
			has := strings.Fields(flags)
			return slices.ContainsFunc(c.virtual, func(flag string) bool { return slices.Contains(has, flag) })
		}
	}
	return false
}
