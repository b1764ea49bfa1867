package attach

import (
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf/link"
)

// Links is a list of links of a program. It has a mutex of its own because closing a link,
// which the user may do at any time, takes it off the list.
type Links struct {
	mu    sync.Mutex
	links []link.Link
}

// Watch returns the link as one that leaves the list when it is closed. Iterators stay as
// they are, as they are used by their type.
func (list *Links) Watch(l link.Link) link.Link {
	switch event := l.(type) {
	case interface{ Open() (io.ReadCloser, error) }:
		return l
	case perfEventer:
		return &watchedEvent{watchedLink{Link: l, list: list}, event}
	}
	return &watchedLink{Link: l, list: list}
}

// Add adds a link, which Watch has returned.
func (list *Links) Add(l link.Link) {
	list.mu.Lock()
	defer list.mu.Unlock()
	list.links = append(list.links, l)
}

// Open returns the links that have not been closed, and forgets the others.
func (list *Links) Open() []link.Link {
	list.mu.Lock()
	defer list.mu.Unlock()
	list.links = slices.DeleteFunc(list.links, IsClosed)
	return slices.Clone(list.links)
}

// Take empties the list and returns what was in it.
func (list *Links) Take() []link.Link {
	list.mu.Lock()
	defer list.mu.Unlock()
	links := list.links
	list.links = nil
	return links
}

// watchedLink is a link that lets other goroutines see whether it is closed.
type watchedLink struct {
	link.Link
	list   *Links
	closed atomic.Bool
	// pin is where [Connect] has pinned it, empty for others, and made is true when nothing was
	// pinned there before.
	pin  string
	made bool
}

// watchedOf returns what Watch has made, nil for a link that it has left as it is.
func watchedOf(l link.Link) *watchedLink {
	switch l := l.(type) {
	case *watchedEvent:
		return &l.watchedLink
	case *watchedLink:
		return l
	}
	return nil
}

// Unpin removes the pin of the link.
func (l *watchedLink) Unpin() error {
	if l.pin == "" {
		return l.Link.Unpin()
	}
	return unpin(l.Link, l.pin)
}

func (l *watchedLink) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	l.list.Open()
	return l.Link.Close()
}

func (l *watchedLink) Closed() bool { return l.closed.Load() }

// FD returns the descriptor of the link, negative when the kernel has no link or it was closed.
// Package link calls it for links that are anchors.
func (l *watchedLink) FD() int {
	if fd, ok := l.Link.(interface{ FD() int }); ok && !l.Closed() {
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

// Closer is a link that knows whether it is closed, as those of this package do.
type Closer interface{ Closed() bool }

// IsClosed reports whether the link is known to be closed. For kinds of links that do not
// keep track of that, it is false.
func IsClosed(l link.Link) bool {
	switch l := l.(type) {
	case Closer:
		return l.Closed()
	case interface{ FD() int }:
		// A link of package link has no descriptor once it is closed.
		return l.FD() < 0
	}
	return false
}

// CloseAll closes links in reverse order, as they may depend on each other.
func CloseAll(links []link.Link) error {
	var errs []error
	for _, l := range slices.Backward(links) {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}
