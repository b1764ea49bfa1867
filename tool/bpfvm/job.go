//go:build linux

package main

import (
	"fmt"
	"os"
	"time"

	"github.com/rules-bpf/rules_bpf/tool/internal/vmproto"
)

// A job is a test, and the kernel that it is to run in.
type job struct {
	// name is what people call the kernel.
	name string
	cpu  *cpu
	// These are paths on this machine. The kernel's configuration may be empty.
	qemu, test, image, config, guest string
	// modules is an archive with kernel modules, or empty.
	modules []byte
	// kernelArgs come last on the kernel's command line.
	kernelArgs     []string
	memoryMB, cpus int
	// run is what the guest is to do, and files what it finds.
	run   *vmproto.Run
	files files
	// deadline is when the test's time is up, or zero, and grace how long it may
	// then take to say where it was.
	deadline time.Time
	grace    time.Duration
}

// do runs the test and returns its exit status.
func (j *job) do() (int, error) {
	if err := j.cpu.checkKernel(j.image, j.test); err != nil {
		return 0, err
	}
	if err := j.cpu.checkLibraries(j.test); err != nil {
		return 0, err
	}
	var kernelConfig []byte
	if j.config != "" {
		var err error
		if kernelConfig, err = os.ReadFile(j.config); err != nil {
			return 0, err
		}
	}
	j.run.Port = j.cpu.port
	initrd, err := j.writeInitrd()
	if err != nil {
		return 0, fmt.Errorf("write the file system of kernel %s: %w", j.name, err)
	}
	defer initrd.Close()
	m := machine{
		name:         j.name,
		cpu:          j.cpu,
		qemu:         j.qemu,
		accelerators: j.cpu.accelerators(),
		image:        j.image,
		kernelArgs:   kernelCommandLine(j.cpu, kernelConfig, j.kernelArgs),
		memoryMB:     j.memoryMB,
		cpus:         j.cpus,
		initrd:       initrd,
		deadline:     j.deadline,
		grace:        j.grace,
		results:      j.run.Results,
		stdout:       os.Stdout,
		stderr:       os.Stderr,
	}
	return m.run()
}
