//go:build linux

// Package vmguest is the first process of a kernel that bpfvm has started: it makes
// the machine one that BPF programs can be tested on, runs the test, and reports its
// end to the runner.
//
// Its own messages go to the kernel's console, which people see when something
// went wrong.
//
// It imports nothing but the standard library and vmproto: bpfvm has the sources of
// both in it, and builds them for the kernel's CPU where Bazel does not.
package vmguest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"github.com/rules-bpf/rules_bpf/tool/internal/vmproto"
)

// drainTime is how long output is waited for that processes may still write
// which the test has left behind.
const drainTime = 500 * time.Millisecond

// minMargin is how long before its time is up a test ends itself at least.
const minMargin = 3 * time.Second

// Main is the main function of the first process. It does not return.
func Main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guest: is the first process of a virtual machine, and nothing to run by hand: see tool/bpfvm")
		os.Exit(1)
	}
	err := boot()
	if err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
	}
	syscall.Sync()
	// The runner takes a restart for the end. Not every machine that QEMU has can
	// be switched off.
	_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART)
	select {}
}

func boot() error {
	data, err := os.ReadFile(vmproto.RunFile)
	if err != nil {
		return err
	}
	run, err := vmproto.Decode(data)
	if err != nil {
		return err
	}
	// The port needs it: before it is open, errors go to the console only.
	if err := mount("devtmpfs", "/dev"); err != nil {
		return err
	}
	port, err := openPort(run.Port)
	if err != nil {
		return err
	}
	w := vmproto.NewWriter(port)
	if err := w.Send(vmproto.Started, nil); err != nil {
		return err
	}
	status, err := prepareAndRun(run, w)
	if err != nil {
		return errors.Join(err, w.Send(vmproto.Failed, []byte(err.Error())), port.drain())
	}
	return errors.Join(w.Send(vmproto.Exited, strconv.AppendInt(nil, int64(status), 10)), port.drain())
}

// A port is the serial line to the runner.
type port struct{ fd int }

func openPort(name string) (port, error) {
	fd, err := syscall.Open(name, syscall.O_WRONLY|syscall.O_NOCTTY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return port{}, fmt.Errorf("open %s: %w", name, err)
	}
	// As it is: no line feeds turned into two characters.
	var raw syscall.Termios
	if err := ioctl(fd, syscall.TCGETS, unsafe.Pointer(&raw)); err != nil {
		return port{}, fmt.Errorf("%s: %w", name, err)
	}
	raw.Iflag = 0
	raw.Oflag = 0
	raw.Lflag = 0
	// The speed only matters to drivers that wait for as long as the line would
	// take; HUPCL and parity do not apply.
	raw.Cflag = syscall.CS8 | syscall.CREAD | syscall.CLOCAL | syscall.B115200
	if err := ioctl(fd, syscall.TCSETS, unsafe.Pointer(&raw)); err != nil {
		return port{}, fmt.Errorf("%s: %w", name, err)
	}
	return port{fd}, nil
}

func (p port) Write(data []byte) (int, error) {
	done := 0
	for done < len(data) {
		n, err := syscall.Write(p.fd, data[done:])
		if err != nil && err != syscall.EINTR {
			return done, err
		}
		done += max(n, 0)
	}
	return done, nil
}

// drain waits until all has left the port.
func (p port) drain() error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(p.fd), tcsbrk, 1); errno != 0 {
		return errno
	}
	return nil
}

func prepareAndRun(run *vmproto.Run, w *vmproto.Writer) (int, error) {
	if err := prepare(); err != nil {
		return 0, err
	}
	for _, dir := range run.Dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return 0, err
		}
	}
	if !run.Deadline.IsZero() {
		// The last one of a name counts.
		run.Env = append(run.Env, "TEST_TIMEOUT="+strconv.Itoa(testTimeout(time.Until(run.Deadline), time.Since(run.Started))))
	}
	status, err := runProgram(run, w)
	if err != nil {
		return 0, err
	}
	return status, sendResults(run.Results, w)
}

// testTimeout returns the seconds after which a test ends itself whose time is up
// when left has passed, in a machine that took boot to start. The rest is for what
// it has to say then, which takes long where starting did, and for a clock that is
// behind the host's: it was read in whole seconds, and where it is emulated on a
// busy host it may run slower.
func testTimeout(left, boot time.Duration) int {
	left -= max(minMargin, left/20, min(boot/2, left/2))
	return max(1, int(left/time.Second))
}

// runProgram returns the program's exit status.
func runProgram(run *vmproto.Run, w *vmproto.Writer) (int, error) {
	stdin, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer stdin.Close()
	files := []*os.File{stdin}
	drained := make(chan struct{}, 2)
	for _, kind := range []vmproto.Kind{vmproto.Stdout, vmproto.Stderr} {
		r, pipe, err := os.Pipe()
		if err != nil {
			return 0, err
		}
		files = append(files, pipe)
		go func() {
			_, _ = io.Copy(w.As(kind), r)
			drained <- struct{}{}
		}()
	}
	p, err := os.StartProcess(run.Args[0], run.Args, &os.ProcAttr{Dir: run.Dir, Env: run.Env, Files: files})
	if err != nil {
		return 0, err
	}
	for _, pipe := range files[1:] {
		pipe.Close()
	}
	status, err := waitFor(p.Pid)
	if err != nil {
		return 0, err
	}
	late := time.After(drainTime)
	for range files[1:] {
		select {
		case <-drained:
		case <-late:
			return status, nil
		}
	}
	return status, nil
}

// waitFor waits for a child to end. Orphans are children of the first process too, and would
// stay in the process table if it did not wait for them.
func waitFor(pid int) (int, error) {
	for {
		var ws syscall.WaitStatus
		ended, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, fmt.Errorf("wait for the test: %w", err)
		case ended == pid && ws.Signaled():
			return 128 + int(ws.Signal()), nil
		case ended == pid:
			return ws.ExitStatus(), nil
		}
	}
}

func sendResults(paths []string, w *vmproto.Writer) error {
	for _, path := range paths {
		err := filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			if err := w.Send(vmproto.File, []byte(path)); err != nil {
				return err
			}
			_, err = io.Copy(w.As(vmproto.Append), f)
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("send %s to the host: %w", path, err)
		}
	}
	return nil
}
