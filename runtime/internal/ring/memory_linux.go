package ring

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Memory is a ring buffer without a kernel's map, for tests: this process is the producer, and
// a [Reader] reads it as any other. Its file has the pages in the order of a ring buffer's.
type Memory struct {
	mu          sync.Mutex
	file, event *os.File
	fd, eventFD int
	size        int
	b           *buffer
}

// NewMemory returns a ring buffer of a size in bytes, which must be a power of 2 and whole
// pages, as for the kernel. It is freed with the last reference to it.
func NewMemory(size uint32) (*Memory, error) {
	page := os.Getpagesize()
	if size == 0 || size&(size-1) != 0 || int(size)%page != 0 {
		return nil, fmt.Errorf("a size of %d bytes is not a power of 2, or not of whole pages: %w", size, syscall.EINVAL)
	}
	fd, err := unix.MemfdCreate("ring", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	m := &Memory{file: os.NewFile(uintptr(fd), "ring"), fd: fd, size: int(size)}
	if err := m.file.Truncate(int64(2*page) + int64(size)); err != nil {
		return nil, errors.Join(err, m.file.Close())
	}
	if m.b, err = mapMemory(fd, m.size); err != nil {
		return nil, errors.Join(err, m.file.Close())
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("eventfd", err), unmap(m.b.maps), m.file.Close())
	}
	m.eventFD = event
	m.event = os.NewFile(uintptr(event), "wake-up")
	runtime.AddCleanup(m, func(maps [][]byte) { _ = unmap(maps) }, m.b.maps)
	return m, nil
}

// mapMemory maps the file of a Memory as the kernel maps a ring buffer: the records twice.
func mapMemory(fd, size int) (*buffer, error) {
	page := os.Getpagesize()
	all, err := unix.Mmap(-1, 0, 2*page+2*size, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	start := unsafe.Pointer(&all[0])
	for _, part := range []struct{ at, offset, size int }{{0, 0, 2*page + size}, {2*page + size, 2 * page, size}} {
		_, err := unix.MmapPtr(fd, int64(part.offset), unsafe.Add(start, part.at), uintptr(part.size),
			unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED)
		if err != nil {
			return nil, errors.Join(os.NewSyscallError("mmap", err), unmap([][]byte{all}))
		}
	}
	return &buffer{
		consumer: positionAt(start),
		producer: positionAt(unsafe.Add(start, page)),
		data:     unsafe.Add(start, 2*page),
		mask:     uint64(size) - 1,
		maps:     [][]byte{all},
	}, nil
}

// Output does what bpf_ringbuf_output does: it fails with EAGAIN when there is no room.
func (m *Memory) Output(record []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.b
	next := b.next + footprint(uint64(len(record)))
	if len(record) > lengthMask || next-b.consumer.load(b.next) > b.mask {
		return syscall.EAGAIN
	}
	header := unsafe.Add(b.data, b.next&b.mask)
	copy(unsafe.Slice((*byte)(unsafe.Add(header, headerSize)), len(record)), record)
	atomic.StoreUint32((*uint32)(header), uint32(len(record)))
	b.next = next
	b.producer.store(next)
	one := uint64(1)
	_, err := m.event.Write(unsafe.Slice((*byte)(unsafe.Pointer(&one)), 8))
	return err
}

// AddMemory is [Reader.Add] for a Memory.
func (r *Reader) AddMemory(m *Memory, id int) error {
	defer runtime.KeepAlive(m)
	return r.addRing(id, func() (*buffer, error) { return mapMemory(m.fd, m.size) }, m.eventFD)
}
