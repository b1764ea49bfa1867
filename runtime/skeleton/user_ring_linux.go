package skeleton

import (
	"errors"

	"golang.org/x/sys/unix"
)

// mapUserRing maps the pages of a user ring buffer of size bytes: that of the programs, and
// that of user space with the records behind it, twice.
func mapUserRing(fd, page, size int) (consumer, producer []byte, err error) {
	// The kernel lets nobody write to the programs' own page.
	consumer, err = unix.Mmap(fd, 0, page, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	producer, err = unix.Mmap(fd, int64(page), page+2*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, errors.Join(err, unix.Munmap(consumer))
	}
	return consumer, producer, nil
}

func unmapUserRing(consumer, producer []byte) error {
	return errors.Join(unix.Munmap(consumer), unix.Munmap(producer))
}
