package load_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/tests/bench/load/progs/calls"
)

// btfLoads returns how many BPF_BTF_LOAD a process makes for its first load, and how many
// for each later one.
func (m *measurement) btfLoads(b *testing.B, loader int) string {
	b.Helper()
	var counts [2]uint64
	for i := range counts {
		var err error
		if counts[i], err = countCalls(m.command(b, loader, "times", i+1, m.file(b)), unix.BPF_BTF_LOAD); err != nil {
			b.Fatal(err)
		}
	}
	return fmt.Sprintf("%d, %d", counts[0], counts[1]-counts[0])
}

// countCalls runs a command and counts its calls of bpf(2) with a number.
func countCalls(cmd *exec.Cmd, number int) (uint64, error) {
	skel, err := calls.Open()
	if err != nil {
		return 0, err
	}
	defer skel.Close()
	skel.Rodata.BpfNumber = unix.SYS_BPF
	if err := skel.Load(); err != nil {
		return 0, err
	}
	// The gate becomes the command when it is counted.
	gate := exec.Command(os.Args[0], append([]string{cmd.Path}, cmd.Args[1:]...)...)
	gate.Env = cmd.Env
	if gate.Env == nil {
		gate.Env = os.Environ()
	}
	gate.Env = append(gate.Env, gateEnv+"=1")
	stdin, err := gate.StdinPipe()
	if err != nil {
		return 0, err
	}
	gate.Stderr = os.Stderr
	if err := gate.Start(); err != nil {
		return 0, err
	}
	skel.Bss.Process = uint32(gate.Process.Pid)
	err = skel.Attach()
	stdin.Close()
	if waitErr := gate.Wait(); err == nil {
		err = waitErr
	}
	return skel.Bss.Counts[number], err
}
