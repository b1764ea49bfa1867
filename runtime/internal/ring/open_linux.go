package ring

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// open makes the epoll instance.
func (w *waiter) open() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	// Only such a descriptor can be a file of the network poller.
	if err := unix.SetNonblock(fd, true); err != nil {
		return errors.Join(os.NewSyscallError("fcntl", err), unix.Close(fd))
	}
	file := os.NewFile(uintptr(fd), "ring")
	raw, err := file.SyscallConn()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	w.file, w.raw, w.done = file, raw, make(chan struct{})
	return nil
}

// watch makes a descriptor wake those who wait: when there is something to read, or to write.
func (w *waiter) watch(fd int, write bool) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN}
	if write {
		event.Events = unix.EPOLLOUT
	}
	var failed error
	err := w.raw.Control(func(epoll uintptr) {
		failed = os.NewSyscallError("epoll_ctl", unix.EpollCtl(int(epoll), unix.EPOLL_CTL_ADD, fd, &event))
	})
	return errors.Join(err, failed)
}

// mapRing maps a BPF ring buffer for its consumer.
func mapRing(fd, size int) (*buffer, error) {
	// The kernel does not allow the rest to be mapped for writing.
	return mapSides(fd, size, unix.PROT_READ|unix.PROT_WRITE, unix.PROT_READ)
}

// mapUserRing maps a user ring buffer for its producer, which is this process.
func mapUserRing(fd, size int) (*buffer, error) {
	// The kernel does not allow the programs' own page to be mapped for writing.
	return mapSides(fd, size, unix.PROT_READ, unix.PROT_READ|unix.PROT_WRITE)
}

// mapSides maps the consumer's page and what is the producer's: its page and the records.
func mapSides(fd, size, consumerProt, producerProt int) (*buffer, error) {
	page := os.Getpagesize()
	consumer, err := mmap(fd, 0, page, consumerProt)
	if err != nil {
		return nil, err
	}
	producer, err := mmap(fd, page, page+2*size, producerProt)
	if err != nil {
		return nil, errors.Join(err, unix.Munmap(consumer))
	}
	return &buffer{
		consumer: positionAt(unsafe.Pointer(&consumer[0])),
		producer: positionAt(unsafe.Pointer(&producer[0])),
		data:     unsafe.Pointer(&producer[page]),
		mask:     uint64(size) - 1,
		maps:     [][]byte{consumer, producer},
	}, nil
}

func mmap(fd, offset, size, prot int) ([]byte, error) {
	m, err := unix.Mmap(fd, int64(offset), size, prot, unix.MAP_SHARED)
	return m, os.NewSyscallError("mmap", err)
}

func unmap(maps [][]byte) error {
	var errs []error
	for _, m := range maps {
		errs = append(errs, os.NewSyscallError("munmap", unix.Munmap(m)))
	}
	return errors.Join(errs...)
}

func closeAll(fds []int) error {
	var errs []error
	for _, fd := range fds {
		errs = append(errs, os.NewSyscallError("close", unix.Close(fd)))
	}
	return errors.Join(errs...)
}

// NewPerfReader returns a reader of a perf event array, by its descriptor, with a buffer of size
// bytes or a little more for each of the first cpus CPUs that is online. align is the alignment
// that records are to have. The first byte wakes it.
func NewPerfReader(array, cpus, size, align int) (*Reader, error) {
	if size < 1 {
		return nil, fmt.Errorf("a buffer of %d bytes for each CPU: give it a page or more", size)
	}
	r, err := NewReader()
	if err != nil {
		return nil, err
	}
	r.perf = true
	// Samples begin 4 bytes after what words are aligned to.
	r.realign = align > 4 && !unaligned
	if err := r.addCPUs(array, cpus, size); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// addCPUs adds the buffers of a perf event array.
func (r *Reader) addCPUs(array, cpus, size int) error {
	// The kernel removes the array's events when the open file of the map is closed with which
	// they were put there.
	own, err := sys.Dup(array)
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	r.events = append(r.events, own)
	for cpu := range cpus {
		event, err := openOutput(cpu)
		if errors.Is(err, unix.ENODEV) {
			continue // the CPU is offline
		}
		if err != nil {
			return fmt.Errorf("CPU %d: %w", cpu, err)
		}
		r.events = append(r.events, event)
		b, err := mapPerf(event, size)
		if err != nil {
			return fmt.Errorf("CPU %d: %w", cpu, err)
		}
		b.id = cpu
		r.add(b)
		if err := r.watch(event, false); err != nil {
			return err
		}
		key, value := uint32(cpu), uint32(event)
		if err := sys.MapUpdate(own, sys.PointerTo(&key), sys.PointerTo(&value), 0); err != nil {
			return fmt.Errorf("event of CPU %d: %w", cpu, err)
		}
	}
	if len(r.rings) == 0 {
		return errors.New("no CPU of the array is online: raise max_entries")
	}
	return nil
}

// openOutput opens the event through which programs on a CPU send records.
func openOutput(cpu int) (int, error) {
	attr := unix.PerfEventAttr{
		Type:        unix.PERF_TYPE_SOFTWARE,
		Config:      unix.PERF_COUNT_SW_BPF_OUTPUT,
		Bits:        unix.PerfBitWatermark,
		Sample_type: unix.PERF_SAMPLE_RAW,
		Wakeup:      1,
	}
	attr.Size = uint32(unsafe.Sizeof(attr))
	for {
		fd, err := unix.PerfEventOpen(&attr, -1, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return fd, os.NewSyscallError("perf_event_open", err)
	}
}

// mapPerf maps the perf buffer of an event: a page, and pages in a power of 2.
func mapPerf(event, size int) (*buffer, error) {
	page := os.Getpagesize()
	pages := 1
	for pages*page < size {
		pages *= 2
	}
	m, err := mmap(event, 0, (1+pages)*page, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		return nil, err
	}
	meta := (*unix.PerfEventMmapPage)(unsafe.Pointer(&m[0]))
	b := &buffer{
		consumer: perfPositionAt(unsafe.Pointer(&meta.Data_tail)),
		producer: perfPositionAt(unsafe.Pointer(&meta.Data_head)),
		data:     unsafe.Pointer(&m[page]),
		mask:     uint64(pages*page) - 1,
		maps:     [][]byte{m},
	}
	b.look()
	return b, nil
}
