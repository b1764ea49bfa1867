package skeleton

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"os"
	"regexp"
	"runtime"
	"strings"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// progLoadAttr is the kernel's union bpf_attr for BPF_PROG_LOAD.
type progLoadAttr struct {
	progType, insnCount         uint32
	insns, license              uint64
	logLevel, logSize           uint32
	log                         uint64
	kernelVersion, flags        uint32
	name                        [unix.BPF_OBJ_NAME_LEN]byte
	ifindex, expectedAttachType uint32
	btfFD, funcSize             uint32
	funcs                       uint64
	funcCount, lineSize         uint32
	lines                       uint64
	lineCount, targetID         uint32
	// targetFD is of a program or of the BTF of a module.
	targetFD, coreRelocationCount uint32
	moduleFDs                     uint64
	coreRelocations               uint64
	coreRelocationSize            uint32
	// logTrueSize is set by the kernel, since 6.4.
	logTrueSize uint32
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9._]`)

const (
	minLogSize = 64 << 10
	// maxLogSize is more than any kernel has to say.
	maxLogSize = math.MaxUint32 >> 2
)

// load loads the program, with a log of the verifier when there is something wrong
// or the options ask for it.
func (c *progCode) load(spec *ebpf.ProgramSpec, opts ebpf.ProgramOptions) (*ebpf.Program, error) {
	attr := progLoadAttr{
		progType:           uint32(spec.Type),
		insnCount:          uint32(len(c.insns) / asm.InstructionSize),
		flags:              spec.Flags,
		ifindex:            spec.Ifindex,
		expectedAttachType: uint32(spec.AttachType),
		funcSize:           btf.FuncInfoSize,
		funcCount:          uint32(len(c.funcs)) / btf.FuncInfoSize,
		lineSize:           btf.LineInfoSize,
		lineCount:          uint32(len(c.lines)) / btf.LineInfoSize,
		targetID:           uint32(c.target.id),
		targetFD:           uint32(c.target.fd),
	}
	if c.types != nil {
		attr.btfFD = uint32(c.types.FD())
	}
	// The kernel takes letters, digits, "." and "_". The last byte ends the name.
	copy(attr.name[:len(attr.name)-1], notInName.ReplaceAllString(spec.Name, ""))
	license, err := unix.ByteSliceFromString(spec.License)
	if err != nil {
		return nil, fmt.Errorf("license: %w", err)
	}
	// No call has the offset 0.
	moduleFDs := make([]int32, 1, 1+len(c.modules))
	for _, m := range c.modules {
		moduleFDs = append(moduleFDs, int32(m.FD()))
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	attr.insns = pinned(&pin, c.insns)
	attr.license = pinned(&pin, license)
	attr.funcs = pinned(&pin, c.funcs)
	attr.lines = pinned(&pin, c.lines)
	if len(c.modules) > 0 {
		attr.moduleFDs = pinned(&pin, moduleFDs)
	}

	level, size := uint32(opts.LogLevel), min(max(opts.LogSizeStart, minLogSize), maxLogSize)
	var log []byte
	if level != 0 && !opts.LogDisabled {
		attr.logLevel, attr.logSize = level, size
	}
	for {
		if attr.logLevel != 0 {
			log = make([]byte, attr.logSize)
			attr.log = pinned(&pin, log)
		}
		fd, err := progLoad(&attr)
		runtime.KeepAlive(spec.AttachTarget)
		if err == nil {
			return c.loaded(fd, log)
		}
		switch {
		case opts.LogDisabled || attr.logSize == maxLogSize:
		case attr.logLevel == 0:
			attr.logLevel, attr.logSize = uint32(ebpf.LogLevelBranch), size
			continue
		case err == unix.ENOSPC:
			attr.logSize = min(max(2*attr.logSize, attr.logTrueSize), maxLogSize)
			continue
		}
		return nil, loadError(err, log, opts.LogDisabled)
	}
}

// loadError makes of the kernel's answer an error as the loader returns it: an
// [*ebpf.VerifierError] when the verifier says why, or could not as nobody asked it.
func loadError(cause error, log []byte, logDisabled bool) error {
	if logDisabled {
		return &ebpf.VerifierError{Cause: fmt.Errorf("%w (the options have LogDisabled: load without it to see why)", cause)}
	}
	text, _, _ := strings.Cut(string(log), "\x00")
	var lines []string
	for line := range strings.Lines(strings.TrimSpace(text)) {
		lines = append(lines, strings.TrimRight(line, " \t\r\n"))
	}
	if len(lines) == 0 || len(lines) == 1 && strings.HasPrefix(lines[0], "processed ") {
		return fmt.Errorf("load program: the kernel refuses it without a look at its instructions: %w", cause)
	}
	// What was put in the place of something that the kernel lacks.
	end := strings.Join(lines[max(0, len(lines)-4):], "\n")
	has := func(format string, value int) bool { return strings.Contains(end, fmt.Sprintf(format, value)) }
	switch {
	case has("invalid func unknown#%d", poisonedCall):
		cause = fmt.Errorf("%w: calls a weak kfunc that the kernel does not have: ask bpf_ksym_exists before", cause)
	case has("invalid func unknown#%d", btf.COREBadRelocationSentinel), has("(18) r10 = 0x%x", btf.COREBadRelocationSentinel):
		cause = fmt.Errorf("%w: uses a field or a type that the kernel does not have (bad CO-RE relocation): ask bpf_core_field_exists or bpf_core_type_exists before", cause)
	}
	return &ebpf.VerifierError{Cause: cause, Log: lines}
}

// loaded returns the handle on a loaded program.
func (c *progCode) loaded(fd int, log []byte) (*ebpf.Program, error) {
	prog, err := ebpf.NewProgramFromFD(fd)
	if err != nil {
		return nil, err
	}
	prog.VerifierLog = unix.ByteSliceToString(log)
	if c.types != nil {
		if err := prog.SetHandle(c.types); err != nil {
			prog.Close()
			return nil, err
		}
	}
	return prog, nil
}

// pinned returns the address of the slice, for as long as pin holds it.
func pinned[T any](pin *runtime.Pinner, s []T) uint64 {
	if len(s) == 0 {
		return 0
	}
	pin.Pin(&s[0])
	return uint64(uintptr(unsafe.Pointer(&s[0])))
}

// progLoad is BPF_PROG_LOAD. A signal interrupts the verifier, which then starts
// over: that of a profiler, which comes again and again, is kept from it, as the loader
// does.
func progLoad(attr *progLoadAttr) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var profiler, before unix.Sigset_t
	const bits = int(8 * unsafe.Sizeof(profiler.Val[0]))
	profiler.Val[(int(unix.SIGPROF)-1)/bits] |= 1 << ((int(unix.SIGPROF) - 1) % bits)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &profiler, &before); err != nil {
		return -1, os.NewSyscallError("sigprocmask", err)
	}
	for {
		fd, err := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(attr), unsafe.Sizeof(*attr))
		if err == unix.EAGAIN {
			continue
		}
		// It was taken a moment ago, so it cannot be refused.
		_ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
		return fd, err
	}
}

// kernelAddresses sets the addresses of the symbols of the kernel. It leaves out those
// that the kernel does not have, and fails with [fs.ErrPermission], but for all others,
// when it hides some.
func kernelAddresses(symbols map[string]uint64) error {
	return findAddresses(symbols, kernelSymbols())
}

func findAddresses(symbols map[string]uint64, all iter.Seq2[kernelSymbol, error]) error {
	var hidden error
	for s, err := range all {
		if err != nil {
			return err
		}
		known, ok := symbols[string(s.name)]
		if !ok {
			continue
		}
		addr, err := s.address()
		if errors.Is(err, fs.ErrPermission) {
			// It may be this one only: some symbols are at zero.
			hidden = err
			continue
		}
		if err != nil {
			return err
		}
		if known != 0 && known != uint64(addr) {
			return fmt.Errorf("ksym %s: the kernel has more than one symbol of this name, and cannot be told which: declare one whose name is there once in %s, or call SetAutoload(false)", s.name, kallsyms)
		}
		symbols[string(s.name)] = uint64(addr)
	}
	return hidden
}
