package sys

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Bpf is the system call. attr points to attributes of the size. A call that a signal
// interrupts is made again. What it returns is a descriptor or a number, as cmd says.
func Bpf(cmd Cmd, attr unsafe.Pointer, size uintptr) (int, error) {
	return call(cmd, attr, size, false)
}

// call is Bpf. A brief call takes the kernel no time worth noting, so to Go's scheduler it is
// computation of the goroutine. Other calls may wait: when one is not back after 20
// microseconds or so, the scheduler gives the goroutine's CPU to another thread, which mostly
// finds nothing to do, and then looks at the process every 20 microseconds again. That takes a
// fifth of the CPU time of loading many small programs, and more in virtual machines, where
// timers are expensive.
func call(cmd Cmd, attr unsafe.Pointer, size uintptr, brief bool) (int, error) {
	if err := Fault(cmd); err != nil {
		return -1, err
	}
	for {
		var r uintptr
		var errno unix.Errno
		if brief {
			r, _, errno = unix.RawSyscall(unix.SYS_BPF, uintptr(cmd), uintptr(attr), size)
		} else {
			r, _, errno = unix.Syscall(unix.SYS_BPF, uintptr(cmd), uintptr(attr), size)
		}
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			return -1, errno
		case cmd.returnsFD() && r < 3:
			return move(int(r))
		default:
			return int(r), nil
		}
	}
}

// move gives a descriptor another number. 0 stands for none in some attributes, and 1 and
// 2 get what programs print.
func move(fd int) (int, error) {
	moved, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	unix.Close(fd)
	if err != nil {
		return -1, err
	}
	return moved, nil
}

// Close closes a descriptor of a map, a program or BTF, which the kernel frees later.
func Close(fd int) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// Dup returns another descriptor of the file of fd.
func Dup(fd int) (int, error) {
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
}

// maxBriefProgram is the number of instructions up to which verifying a program usually takes
// no time worth noting.
const maxBriefProgram = 1024

// ProgLoad loads a program and returns its descriptor. alone says that the kernel does not make
// the verifiers of several processes wait for each other, as it does for those without CAP_BPF.
//
// A signal interrupts the verifier, which then starts over. It may be the scheduler's, which
// stops the goroutine to collect garbage, or after 10 milliseconds: from then on the call is
// not brief. The signals of a profiler keep coming: from the second attempt on they are
// blocked.
func ProgLoad(attr *ProgLoadAttr, alone bool) (int, error) {
	if alone && attr.InsnCount <= maxBriefProgram {
		if fd, err := bpfBriefly(ProgLoadCmd, attr); err != unix.EAGAIN {
			return fd, err
		}
	}
	fd, err := bpf(ProgLoadCmd, attr)
	if err != unix.EAGAIN {
		return fd, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var profiler, before unix.Sigset_t
	const bits = int(8 * unsafe.Sizeof(profiler.Val[0]))
	profiler.Val[(int(unix.SIGPROF)-1)/bits] |= 1 << ((int(unix.SIGPROF) - 1) % bits)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &profiler, &before); err != nil {
		return -1, os.NewSyscallError("sigprocmask", err)
	}
	for {
		fd, err := bpf(ProgLoadCmd, attr)
		if err == unix.EAGAIN {
			continue
		}
		// The mask was valid a moment ago, so this cannot fail.
		_ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
		return fd, err
	}
}
