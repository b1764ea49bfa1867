package skeleton

import (
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf/link"
)

// linkList has links of a program. It has a mutex of its own because links that are closed
// leave it, and those the user may close at any time.
type linkList struct {
	mu    sync.Mutex
	links []link.Link
}

// watch returns the link as one that leaves the list when it is closed. Iterators stay as
// they are, as they are used by their type.
func (list *linkList) watch(l link.Link) link.Link {
	switch event := l.(type) {
	case interface{ Open() (io.ReadCloser, error) }:
		return l
	case perfEventer:
		return &watchedEvent{watchedLink{Link: l, list: list}, event}
	}
	return &watchedLink{Link: l, list: list}
}

func (list *linkList) add(l link.Link) {
	list.mu.Lock()
	defer list.mu.Unlock()
	list.links = append(list.links, l)
}

// open returns the links that have not been closed, and forgets the others.
func (list *linkList) open() []link.Link {
	list.mu.Lock()
	defer list.mu.Unlock()
	list.links = slices.DeleteFunc(list.links, isClosed)
	return slices.Clone(list.links)
}

// take empties the list and returns what was in it.
func (list *linkList) take() []link.Link {
	list.mu.Lock()
	defer list.mu.Unlock()
	links := list.links
	list.links = nil
	return links
}

// watchedLink is a link that tells whether it is closed, to other goroutines too.
type watchedLink struct {
	link.Link
	list   *linkList
	closed atomic.Bool
}

func (l *watchedLink) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	l.list.open()
	return l.Link.Close()
}

func (l *watchedLink) isClosed() bool { return l.closed.Load() }

// FD returns the descriptor of the link, negative when the kernel has no link or it was
// closed. Package link wants to see it of links that are anchors.
func (l *watchedLink) FD() int {
	if fd, ok := l.Link.(interface{ FD() int }); ok && !l.isClosed() {
		return fd.FD()
	}
	return -1
}

// perfEventer is [link.PerfEvent], which is not there on all systems.
type perfEventer interface{ PerfEvent() (*os.File, error) }

// watchedEvent is a watchedLink of a program on a perf event. It implements
// [link.PerfEvent].
type watchedEvent struct {
	watchedLink
	event perfEventer
}

func (l *watchedEvent) PerfEvent() (*os.File, error) { return l.event.PerfEvent() }

// closer is a link of this package that knows whether it is closed.
type closer interface{ isClosed() bool }

// isClosed reports whether somebody has closed the link. It does not for kinds of links
// that do not tell.
func isClosed(l link.Link) bool {
	switch l := l.(type) {
	case closer:
		return l.isClosed()
	case interface{ FD() int }:
		// As those of package link: no descriptor is left.
		return l.FD() < 0
	}
	return false
}

// closeAll closes links in reverse order, as they may depend on each other.
func closeAll(links []link.Link) error {
	var errs []error
	for _, l := range slices.Backward(links) {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}
