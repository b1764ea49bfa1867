package perfevent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/internal/kernelfs"
)

// ErrNoPMU reports that the kernel has no events of a kind.
var ErrNoPMU = errors.New("the kernel has no such events")

// Tracepoint opens the event of a tracepoint, by its names in tracefs. It fails with
// [fs.ErrNotExist] when the kernel has no such tracepoint.
func Tracepoint(category, name string) (*os.File, error) {
	id, err := TracepointID(category, name)
	if err != nil {
		return nil, err
	}
	return open(&unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Config: id}, 0)
}

// TracepointID returns the kernel's number of a tracepoint. It fails as [Tracepoint] does.
func TracepointID(category, name string) (uint64, error) {
	data, err := kernelfs.Tracefs.ReadFile("events/" + category + "/" + name + "/id")
	if err != nil {
		return 0, err
	}
	id, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("id of tracepoint %s/%s: %w", category, name, err)
	}
	return id, nil
}

// Kprobe opens an event of an offset in a function of the kernel, or of its return. Its errors
// are the kernel's, which differ between versions: ENOENT or, for a return before 5.11, EINVAL
// for a function that does not exist; EADDRNOTAVAIL for a name that several functions have
// (6.6); EILSEQ or EINVAL for an offset at which no instruction begins; EINVAL for a function
// that must not be probed.
func Kprobe(symbol string, offset uint64, ret bool) (*os.File, error) {
	return probe("kprobe", symbol, offset, 0, 0, ret)
}

// KprobeAt is Kprobe for the address of an instruction of the kernel.
func KprobeAt(address uint64, ret bool) (*os.File, error) {
	return probe("kprobe", "", address, 0, 0, ret)
}

// Uprobe opens an event of an offset in a file, or of the return of the function there, in a
// process, or in all for a pid of 0. semaphore, unless 0, is the offset of a USDT's semaphore,
// which the kernel raises while the event is open.
func Uprobe(path string, offset, semaphore uint64, pid int, ret bool) (*os.File, error) {
	return probe("uprobe", path, offset, semaphore, pid, ret)
}

// probe opens an event of the PMU for probes, which the kernel has since 4.17. Without a target,
// the offset is an address.
func probe(pmu, target string, offset, semaphore uint64, pid int, ret bool) (*os.File, error) {
	typ, err := pmuNumber(pmu, "type", "")
	if err != nil {
		return nil, err
	}
	var config uint64
	if ret {
		bit, err := pmuNumber(pmu, "format/retprobe", "config:")
		if err != nil {
			return nil, err
		}
		config |= 1 << bit
	}
	if semaphore != 0 {
		if semaphore>>32 != 0 {
			return nil, fmt.Errorf("semaphore is at offset %#x, and the kernel takes offsets of 32 bits: %w", semaphore, unix.ERANGE)
		}
		// config:32-63, since 4.20.
		config |= semaphore << 32
	}
	name, err := unix.BytePtrFromString(target)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", target, err)
	}
	attr := unix.PerfEventAttr{Type: uint32(typ), Config: config, Ext2: offset}
	var pin runtime.Pinner
	defer pin.Unpin()
	if target != "" {
		pin.Pin(name)
		attr.Ext1 = uint64(uintptr(unsafe.Pointer(name)))
	}
	return open(&attr, pid)
}

// pmuNumber reads a number after a prefix.
func pmuNumber(pmu, file, prefix string) (uint64, error) {
	data, err := kernelfs.Sysfs.ReadFile("bus/event_source/devices/" + pmu + "/" + file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, ErrNoPMU
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(string(data)), prefix), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s of PMU %s: %w", file, pmu, err)
	}
	return n, nil
}

func open(attr *unix.PerfEventAttr, pid int) (*os.File, error) {
	// The second version has the fields for probes.
	attr.Size = unix.PERF_ATTR_SIZE_VER1
	// An event of all processes is on one CPU by its form only: the program runs on
	// all of them.
	cpu := -1
	if pid == 0 {
		pid, cpu = -1, 0
	}
	for {
		fd, err := unix.PerfEventOpen(attr, pid, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("perf_event_open", err)
		}
		return os.NewFile(uintptr(fd), "perf event"), nil
	}
}
