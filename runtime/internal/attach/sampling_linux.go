package attach

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/internal/privilege"
)

// Sampling runs p frequency times a second on all CPUs, or in the threads of a process.
func Sampling(p *Program, frequency uint64, pid int, cookie uint64) (link.Link, error) {
	switch {
	case frequency == 0:
		return nil, errors.New("number of samples per second is 0")
	case pid != 0:
		return sampleProcess(p.Program, frequency, pid, cookie)
	}
	cpus, err := onlineCPUs()
	if err != nil {
		return nil, err
	}
	var events []int
	for _, cpu := range cpus {
		event, err := openSampling(-1, cpu, frequency, 0)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open perf event on CPU %d: %w", cpu, err), closeFDs(events))
		}
		events = append(events, event)
	}
	links, err := sample(p.Program, events, cookie)
	if err != nil {
		return nil, err
	}
	return joinLinks("sampling", links), nil
}

// sampleTries is how often sampleProcess begins again.
const sampleTries = 10

// sampleProcess attaches prog to an event for each thread of a process. Threads that
// these start have the events of those that start them.
func sampleProcess(prog *ebpf.Program, frequency uint64, pid int, cookie uint64) (link.Link, error) {
	for try := 1; ; try++ {
		threads := make(map[int]bool)
		events, err := openThreads(pid, frequency, threads)
		if err != nil {
			return nil, err
		}
		links, err := sample(prog, events, cookie)
		if err != nil {
			return nil, err
		}
		// A new thread has inherited the event of the one that started it, but without the
		// program if that was attached later, and there is no way to find out. An event of its own
		// could make the program run twice for each sample, so all threads are attached anew.
		again, err := newThreads(pid, threads)
		if len(again) == 0 || err != nil || try == sampleTries {
			// err means that the process has ended: its events are as good as before.
			return joinLinks("sampling", links), nil
		}
		if err := CloseAll(links); err != nil {
			return nil, err
		}
	}
}

// openThreads opens an event for each thread of a process, until there is no new one,
// and adds the threads to a set. Those that end before are left out.
func openThreads(pid int, frequency uint64, threads map[int]bool) (events []int, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, closeFDs(events))
		}
	}()
	for {
		found, err := newThreads(pid, threads)
		// A process that ends now is no error once there is an event.
		if err != nil && len(events) == 0 {
			return nil, err
		}
		if len(found) == 0 {
			break
		}
		for _, tid := range found {
			threads[tid] = true
			event, err := openThread(tid, frequency)
			if errors.Is(err, unix.ESRCH) {
				continue
			}
			if err != nil {
				return events, fmt.Errorf("open perf event of thread %d of process %d: %w", tid, pid, err)
			}
			events = append(events, event)
		}
	}
	if len(events) == 0 {
		return nil, fmt.Errorf("process %d has ended: %w", pid, unix.ESRCH)
	}
	return events, nil
}

// newThreads returns the threads of a process that are not in the set.
func newThreads(pid int, known map[int]bool) ([]int, error) {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no process %d, or no proc file system at /proc: %w", pid, unix.ESRCH)
	}
	if err != nil {
		return nil, err
	}
	var threads []int
	for _, e := range entries {
		tid, err := strconv.Atoi(e.Name())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		if !known[tid] {
			threads = append(threads, tid)
		}
	}
	return threads, nil
}

// openThread opens an event that the threads which this one starts inherit.
func openThread(tid int, frequency uint64) (int, error) {
	// attr.inherit_thread, since Linux 5.13: not the processes that it starts.
	const threadsOnly = unix.CBitFieldMaskBit35
	event, err := openSampling(tid, -1, frequency, unix.PerfBitInherit|threadsOnly)
	if errors.Is(err, unix.EINVAL) {
		return openSampling(tid, -1, frequency, unix.PerfBitInherit)
	}
	return event, err
}

// openSampling opens an event that is disabled.
func openSampling(tid, cpu int, frequency, bits uint64) (int, error) {
	event, err := unix.PerfEventOpen(&unix.PerfEventAttr{
		Type:   unix.PERF_TYPE_SOFTWARE,
		Size:   unix.PERF_ATTR_SIZE_VER1,
		Config: unix.PERF_COUNT_SW_CPU_CLOCK,
		Sample: frequency,
		Bits:   unix.PerfBitFreq | unix.PerfBitDisabled | bits,
	}, tid, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
	return event, adviseEvent(err, privilege.Perfmon)
}

// sample attaches prog to events, takes them over, and enables them.
func sample(prog *ebpf.Program, events []int, cookie uint64) ([]link.Link, error) {
	var links []link.Link
	for i, fd := range events {
		l, err := attachEvent(prog, os.NewFile(uintptr(fd), "perf event"), cookie, Default)
		if err != nil {
			return nil, errors.Join(err, CloseAll(links), closeFDs(events[i+1:]))
		}
		links = append(links, l)
	}
	return links, nil
}

func closeFDs(fds []int) error {
	var errs []error
	for _, fd := range fds {
		errs = append(errs, unix.Close(fd))
	}
	return errors.Join(errs...)
}

// onlineCPUs parses /sys/devices/system/cpu/online, such as "0-3,5".
func onlineCPUs() ([]int, error) {
	const path = "/sys/devices/system/cpu/online"
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var cpus []int
	for part := range strings.SplitSeq(strings.TrimSpace(string(data)), ",") {
		first, last, ok := strings.Cut(part, "-")
		if !ok {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for cpu := from; cpu <= to; cpu++ {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}
