//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const (
	// memoryMB is what the machine has: enough for a test with the race detector.
	memoryMB = 1024
	// cpus is more than one, so that per-CPU maps and races are tested.
	cpus = "2"
)

// Ways in which QEMU runs the instructions of the kernel.
const (
	kvm = "kvm"
	tcg = "tcg"
)

// kvmDevice is what programs use the CPU's virtualization through.
const kvmDevice = "/dev/kvm"

// qemu is what a build found out about QEMU.
type qemu struct {
	// Path is the executable's, on this machine.
	Path string `json:"path"`
	// Problem says why there is none, and what to do.
	Problem string `json:"problem"`
}

func readQEMU(path string) (*qemu, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var q qemu
	if err := json.Unmarshal(data, &q); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if q.Problem != "" {
		return nil, errSkip{"needs QEMU: " + q.Problem}
	}
	if _, err := os.Stat(q.Path); err != nil {
		return nil, fmt.Errorf("QEMU was at %s when Bazel looked for it, and is not now: %w", q.Path, err)
	}
	return &q, nil
}

// accelerators returns what to try, in this order. Whether KVM works is known
// when it does: its device may be there and refuse what QEMU wants of it.
func accelerators() []string {
	// On machines that are virtual themselves the device may be there without
	// help from the CPU. It then runs only kernels that were made for that, and
	// others neither start nor end.
	if info, err := os.ReadFile("/proc/cpuinfo"); err != nil || !virtualizes(string(info)) {
		return []string{tcg}
	}
	f, err := os.OpenFile(kvmDevice, os.O_RDWR, 0)
	if err != nil {
		return []string{tcg}
	}
	f.Close()
	return []string{kvm, tcg}
}

// virtualizes says whether the CPU that /proc/cpuinfo describes has instructions
// for virtual machines: Intel's or AMD's, one of which KVM for x86 is built on.
func virtualizes(cpuinfo string) bool {
	for line := range strings.Lines(cpuinfo) {
		if name, flags, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "flags" {
			has := strings.Fields(flags)
			return slices.Contains(has, "vmx") || slices.Contains(has, "svm")
		}
	}
	return false
}

// The descriptors that QEMU inherits.
const (
	framesFD  = 3
	consoleFD = 4
	initrdFD  = 5
)

// args returns QEMU's arguments.
func (q *qemu) args(accel, image, kernelArgs string) []string {
	if accel == tcg {
		// The CPUs take turns. With a thread for each, kernels that patch the code
		// another CPU runs (static keys, trampolines) now and then find the old
		// code there, and panic: seen with 7.2 and 11.
		accel = "tcg,thread=single"
	}
	return []string{
		// microvm, the machine that boots fastest, has no clock by which a kernel
		// can measure the speed of the CPU's own: on a host that is busy it then
		// stops at that. Of this one, what no test needs is off.
		"-M", "q35,hpet=on,sata=off,smbus=off,usb=off,vmport=off,graphics=off",
		"-bios", "qboot.rom",
		"-accel", accel,
		"-cpu", "max",
		"-smp", cpus,
		"-m", strconv.Itoa(memoryMB),
		"-nodefaults", "-no-user-config", "-display", "none",
		// A kernel that restarts has ended, by itself or by a panic.
		"-no-reboot",
		"-chardev", fmt.Sprintf("file,id=console,path=/dev/fd/%d", consoleFD),
		"-chardev", fmt.Sprintf("file,id=frames,path=/dev/fd/%d", framesFD),
		"-serial", "chardev:console",
		"-serial", "chardev:frames",
		"-kernel", image,
		"-initrd", fmt.Sprintf("/dev/fd/%d", initrdFD),
		"-append", kernelArgs,
	}
}

// start starts QEMU, which writes to the two files and ends with this process.
func (q *qemu) start(args []string, frames, console, initrd *os.File) (*exec.Cmd, *bytes.Buffer, error) {
	cmd := exec.Command(q.Path, args...)
	cmd.ExtraFiles = []*os.File{frames, console, initrd}
	var messages bytes.Buffer
	cmd.Stdout = &messages
	cmd.Stderr = &messages
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		// Signals for the test's process group are for the runner to act on.
		Setpgid: true,
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start QEMU: %w", err)
	}
	return cmd, &messages, nil
}

// kernelCommandLine returns the arguments of a kernel with the configuration,
// which is empty when it is not known, and the further arguments.
func kernelCommandLine(config []byte, further []string) string {
	args := []string{
		"console=ttyS0",
		// Only errors and what is worse: the console is slow.
		"quiet",
		// A panic ends the machine at once, and so does what is as bad.
		"panic=-1", "oops=panic", "reboot=t",
		// On a host that is busy the timer may look broken, which is a panic.
		"no_timer_check",
		// There is no other source of randomness this early.
		"random.trust_cpu=on",
	}
	// Programs attach to LSM hooks only when "bpf" is among the active modules.
	if lsms, ok := configValue(config, "CONFIG_LSM"); ok && hasConfig(config, "CONFIG_BPF_LSM") {
		if list := strings.Split(strings.Trim(lsms, `"`), ","); !slices.Contains(list, "bpf") {
			args = append(args, "lsm="+strings.Join(append(list, "bpf"), ","))
		}
	}
	return strings.Join(append(args, further...), " ")
}

func hasConfig(config []byte, name string) bool {
	value, ok := configValue(config, name)
	return ok && value == "y"
}

// configValue returns the value of an option in a kernel's configuration.
func configValue(config []byte, name string) (string, bool) {
	for line := range strings.Lines(string(config)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+"="); ok {
			return value, true
		}
	}
	return "", false
}
