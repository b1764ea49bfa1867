//go:build linux

package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// The machine, unless something else is asked for.
const (
	// defaultMemoryMB is enough for a test with the race detector.
	defaultMemoryMB = 1024
	// defaultCPUs is more than one, so that per-CPU maps and races are tested.
	defaultCPUs = 2
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
	// Problem is why there is none, and what to do.
	Problem string `json:"problem"`
}

// readQEMU returns the path of the executable that a file says is there.
func readQEMU(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var q qemu
	if err := json.Unmarshal(data, &q); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	if q.Problem != "" {
		return "", errSkip{"needs QEMU: " + q.Problem}
	}
	if _, err := os.Stat(q.Path); err != nil {
		return "", fmt.Errorf("QEMU was at %s when Bazel looked for it, and is not now: %w", q.Path, err)
	}
	return q.Path, nil
}

// The descriptors that QEMU inherits.
const (
	framesFD  = 3
	consoleFD = 4
	initrdFD  = 5
)

// qemuArgs returns QEMU's arguments.
func (m *machine) qemuArgs(accel string) []string {
	board, model := m.cpu.board, m.cpu.model
	if accel == tcg {
		// The CPUs take turns. With a thread for each, kernels that patch the code
		// another CPU runs (static keys, trampolines) now and then find the old
		// code there, and panic: seen with 7.2 and 11.
		accel = "tcg,thread=single"
	} else {
		board, model = cmp.Or(m.cpu.kvmBoard, board), cmp.Or(m.cpu.kvmModel, model)
	}
	return append([]string{
		"-M", board,
		"-accel", accel,
		"-cpu", model,
		"-smp", strconv.Itoa(m.cpus),
		"-m", strconv.Itoa(m.memoryMB),
		"-nodefaults", "-no-user-config", "-display", "none",
		// A kernel that restarts has ended, by itself or by a panic.
		"-no-reboot",
		"-chardev", fmt.Sprintf("file,id=console,path=/dev/fd/%d", consoleFD),
		"-chardev", fmt.Sprintf("file,id=frames,path=/dev/fd/%d", framesFD),
		"-kernel", m.image,
		"-initrd", fmt.Sprintf("/dev/fd/%d", initrdFD),
		"-append", m.kernelArgs,
	}, m.cpu.devices...)
}

// start starts QEMU, which writes to the two files and ends with this process.
func startQEMU(path string, args []string, frames, console, initrd *os.File) (*exec.Cmd, *bytes.Buffer, error) {
	cmd := exec.Command(path, args...)
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

// kernelCommandLine returns the arguments of a kernel for the CPU with the
// configuration, which is empty when it is not known, and the further arguments.
func kernelCommandLine(c *cpu, config []byte, further []string) string {
	args := []string{
		"console=" + c.console,
		// Only errors and what is worse: the console is slow.
		"quiet",
		// A panic ends the machine at once, and so does what is as bad.
		"panic=-1", "oops=panic", "reboot=t",
		// On a host that is busy the timer of a PC may look broken, which is a panic.
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
