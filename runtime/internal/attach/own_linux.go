package attach

import (
	"fmt"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// ownLink is a link for what the kernel has no link for. It cannot be pinned:
// what it stands for ends with the process at the latest, unless its maker says
// otherwise.
type ownLink struct {
	// Link is nil. Only package link can implement the interface, but any type can
	// embed it.
	link.Link
	// what the link stands for, for errors.
	what   string
	detach func() error
	closed atomic.Bool
}

func (l *ownLink) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	return l.detach()
}

func (l *ownLink) Closed() bool { return l.closed.Load() }

func (l *ownLink) Detach() error { return l.Close() }

func (l *ownLink) refuse(op string) error {
	return fmt.Errorf("%s %s: the kernel has no link for it: %w", op, l.what, ebpf.ErrNotSupported)
}

func (l *ownLink) Update(*ebpf.Program) error { return l.refuse("update") }
func (l *ownLink) Pin(string) error           { return l.refuse("pin") }
func (l *ownLink) Unpin() error               { return l.refuse("unpin") }

func (l *ownLink) Info() (*link.Info, error) { return nil, l.refuse("info of") }

// joinLinks makes one link of several.
func joinLinks(what string, links []link.Link) link.Link {
	if len(links) == 1 {
		return links[0]
	}
	return &ownLink{
		what:   fmt.Sprintf("%s, which is %d links", what, len(links)),
		detach: func() error { return CloseAll(links) },
	}
}
