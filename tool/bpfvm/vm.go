//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/tool/internal/vmproto"
)

// kvmStart is how long a kernel may take to start under KVM before that counts as
// not working: it takes less than a second where it works.
const kvmStart = 2 * time.Second

// QEMU ends with the thread that started it, so that must not be one that the Go runtime ends.
func init() { runtime.LockOSThread() }

// A machine is a virtual machine with the test in it.
type machine struct {
	name string
	cpu  *cpu
	// qemu is the path of the executable.
	qemu string
	// accelerators are tried in this order.
	accelerators []string
	image        string
	kernelArgs   string
	memoryMB     int
	cpus         int
	initrd       *os.File
	// deadline is when the test's time is up, or zero.
	deadline time.Time
	// grace is how long the test may then take to say where it was.
	grace time.Duration
	// results are what the guest may write on the host: these files, and files
	// below them.
	results        []string
	stdout, stderr io.Writer
}

// errNotStarted is returned when QEMU ends, or takes too long, before the guest says that it is
// there.
var errNotStarted = errors.New("the kernel did not start")

func (m *machine) run() (int, error) {
	// QEMU aborts when KVM does not work: this keeps its memory from being written to disk.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return 0, fmt.Errorf("set RLIMIT_CORE: %w", err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	for i, accel := range m.accelerators {
		status, err := m.boot(accel, signals)
		if i < len(m.accelerators)-1 && errors.Is(err, errNotStarted) {
			// The next one is slower, and the user may be able to mend this.
			fmt.Fprintf(m.stderr, "bpfvm: QEMU with %s: %v\nbpfvm: trying %s instead\n", accel, err, m.accelerators[i+1])
			continue
		}
		return status, err
	}
	return 0, errNotStarted
}

// frame is what the guest sends, or the error that ends the sending.
type frame struct {
	kind vmproto.Kind
	data []byte
	err  error
}

// boot starts the machine and returns the test's exit status. Nothing of the
// machine is left when it returns.
func (m *machine) boot(accel string, signals <-chan os.Signal) (int, error) {
	framesR, framesW, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer framesR.Close()
	consoleR, consoleW, err := os.Pipe()
	if err != nil {
		framesW.Close()
		return 0, err
	}
	defer consoleR.Close()
	cmd, messages, err := startQEMU(m.qemu, m.qemuArgs(accel), framesW, consoleW, m.initrd)
	framesW.Close()
	consoleW.Close()
	if err != nil {
		return 0, err
	}

	console := make(chan []byte, 1)
	go func() {
		data, _ := io.ReadAll(consoleR)
		console <- data
	}()
	frames := make(chan frame)
	quit := make(chan struct{})
	defer close(quit)
	go func() {
		for {
			kind, data, err := vmproto.Receive(framesR)
			if m.cpu.panicsOnPort && errors.Is(err, vmproto.ErrNoFrame) {
				// The console has it as well, all of it when the kernel has ended.
				_, _ = io.Copy(io.Discard, framesR)
				err = io.EOF
			}
			select {
			case frames <- frame{kind, data, err}:
			case <-quit:
				return
			}
			if err != nil {
				return
			}
		}
	}()

	s := session{machine: m, accel: accel}
	status, err := s.follow(frames, signals)
	s.closeFile()
	_ = cmd.Process.Kill()
	// How it ended is in cmd.ProcessState.
	_ = cmd.Wait()
	if err != nil {
		return 0, m.explain(err, cmd.ProcessState, messages, <-console)
	}
	// The kernel knows best why it has killed a test: memory, a bug of its own.
	if said := <-console; status != 0 && len(lastLines(said, 1)) > 0 {
		fmt.Fprintln(m.stderr, "bpfvm:", m.explain(fmt.Errorf("the test ended with status %d, and the kernel had errors to report", status), cmd.ProcessState, &bytes.Buffer{}, said))
	}
	return status, nil
}

// explain adds to an error the output of QEMU and of the kernel.
func (m *machine) explain(err error, ended *os.ProcessState, messages *bytes.Buffer, console []byte) error {
	// QEMU's own messages, unless it was this program that ended it.
	if said := strings.TrimSpace(messages.String()); said != "" {
		err = fmt.Errorf("%w\nQEMU (%s, %v): %s", err, m.qemu, ended, said)
	}
	saved := ""
	if dir := os.Getenv("TEST_UNDECLARED_OUTPUTS_DIR"); dir != "" && len(console) > 0 {
		path := filepath.Join(dir, "console.txt")
		if werr := os.WriteFile(path, console, 0o644); werr != nil {
			err = errors.Join(err, werr)
		} else {
			saved = ", all of which is console.txt among the test's outputs"
		}
	}
	lines := lastLines(console, consoleLines)
	if len(lines) == 0 {
		return fmt.Errorf("kernel %s: %w\nthere is nothing on its console", m.name, err)
	}
	return fmt.Errorf("kernel %s: %w\nthe last lines of its console%s:\n    %s", m.name, err, saved, strings.Join(lines, "\n    "))
}

// consoleLines is how much of the console a failure shows: a panic's report has
// about 60 lines.
const consoleLines = 80

func lastLines(data []byte, n int) []string {
	text := strings.TrimSpace(strings.ToValidUTF8(strings.ReplaceAll(string(data), "\r", ""), "?"))
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	return lines[max(0, len(lines)-n):]
}

// A session is the time between the start and the end of a machine.
type session struct {
	*machine
	accel   string
	started bool
	file    *os.File
}

// follow does what the guest asks for until it has ended.
func (s *session) follow(frames <-chan frame, signals <-chan os.Signal) (int, error) {
	var timeUp, noStart, giveUp <-chan time.Time
	end := errors.New("the test hangs, or the kernel: it was still running when its time was up")
	if !s.deadline.IsZero() {
		timeUp = time.After(time.Until(s.deadline))
	}
	if s.accel == kvm {
		noStart = time.After(kvmStart)
	}
	for {
		select {
		case f := <-frames:
			if f.err != nil {
				return 0, s.ended(f.err)
			}
			status, done, err := s.take(f)
			if done || err != nil {
				return status, err
			}
		case sig := <-signals:
			if sig != unix.SIGTERM || s.grace == 0 {
				return 0, fmt.Errorf("ended by the signal %v", sig)
			}
			// Bazel sends it when the time is up, and when the build is cancelled.
			giveUp = time.After(s.grace)
		case <-timeUp:
			if !s.started {
				end = errors.New("the kernel had not started when the time was up: give it more, it takes longer where the machine is busy or emulates another cpu")
			}
			giveUp = time.After(s.grace)
		case <-noStart:
			if !s.started {
				return 0, errNotStarted
			}
		case <-giveUp:
			return 0, end
		}
	}
}

// ended returns the error for the end of the machine before that of the test.
func (s *session) ended(err error) error {
	switch {
	case !s.started && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		return errNotStarted
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the kernel ended before the test did: it panicked, or something restarted it")
	}
	return err
}

// take acts on a frame. It returns the test's exit status and true for the last.
func (s *session) take(f frame) (status int, done bool, err error) {
	switch f.kind {
	case vmproto.Started:
		s.started = true
	case vmproto.Stdout:
		_, err = s.stdout.Write(f.data)
	case vmproto.Stderr:
		_, err = s.stderr.Write(f.data)
	case vmproto.File:
		err = s.openFile(string(f.data))
	case vmproto.Append:
		if s.file == nil {
			return 0, false, errors.New("the guest sent a piece of a file without a name")
		}
		_, err = s.file.Write(f.data)
	case vmproto.Failed:
		return 0, true, fmt.Errorf("cannot run the test: %s", f.data)
	case vmproto.Exited:
		status, err = strconv.Atoi(string(f.data))
		return status, true, err
	}
	return 0, false, err
}

// openFile begins a file of the test's results.
func (s *session) openFile(path string) error {
	s.closeFile()
	path = filepath.Clean(path)
	// Root in the guest is not to write just anywhere on the host.
	if !slices.ContainsFunc(s.results, func(result string) bool {
		result = filepath.Clean(result)
		return path == result || strings.HasPrefix(path, result+"/")
	}) {
		return fmt.Errorf("the guest sent a file that was not asked for: %s", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	s.file = f
	return err
}

func (s *session) closeFile() {
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
}
