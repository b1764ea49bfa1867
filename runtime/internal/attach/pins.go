package attach

import (
	"errors"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Pins are those of an object in a directory of a bpffs, by which the next process finds its
// links and maps.
type Pins struct {
	// dir is absolute, without symbolic links.
	dir string
	// links are those of this object, by the names of their pins.
	links map[string]link.Link
	// filters are those of clsact, by the texts of their locations.
	filters map[string]link.Link
}

// NewPins returns the pins in a directory, which it makes unless it is there.
func NewPins(dir string) (*Pins, error) {
	made, err := makePinDirectory(dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return &Pins{dir: made, links: make(map[string]link.Link), filters: make(map[string]link.Link)}, nil
}

// Where the pins of links and maps are in a directory.
func linksOf(dir string) string { return filepath.Join(dir, "links") }
func mapsOf(dir string) string  { return filepath.Join(dir, "maps") }

// MapPath returns where a map is pinned.
func (p *Pins) MapPath(name string) string { return filepath.Join(mapsOf(p.dir), name) }

// RemoveStale removes what is pinned in the directory, and filters that belong to it, but for
// links and filters of this object, the maps that keepMap returns true for, and links that are
// attached in another network namespace than that of the calling thread: they may be another
// process's, with the same pins and a namespace of its own. It returns what it has removed.
func (p *Pins) RemoveStale(keepMap func(path string) bool) (removed []string, err error) {
	elsewhere, err := otherNetNS()
	if err != nil {
		return nil, err
	}
	keep := func(path string) (bool, error) {
		if filepath.Dir(path) != linksOf(p.dir) {
			return keepMap(path), nil
		}
		if p.links[filepath.Base(path)] != nil {
			return true, nil
		}
		return elsewhere(path)
	}
	return removePins(p.dir, keep, func(filter string) bool { return p.filters[filter] != nil })
}

// StructOps is a struct_ops map in the kernel that is to be connected.
type StructOps struct {
	// Name is that in C, and Section the argument of SEC().
	Name, Section string
	Map           *ebpf.Map
	// Pins are those among which the link is to be, nil for none.
	Pins *Pins
}

// Hook names what a connection is on, for its pin. A connection to the zero value is not
// pinned.
type Hook struct {
	// name returns the part of the pin's name that distinguishes it from others of the program,
	// empty when the connection is going to fail. For a link that can be updated it is what
	// hookOf returns for the kernel's description of the link.
	name func() (string, error)
	// updated is true when the kernel can update the link, and fresh when the link is to be
	// the new connection, as with option Replace.
	updated, fresh bool
	// ifindex is the interface that it is on, 0 for none. It counts in the network namespace of
	// the thread that connects, which is part of the pin's name.
	ifindex int
}

// By is a hook whose links the kernel cannot update.
func By(format string, args ...any) Hook {
	return Hook{name: func() (string, error) { return fmt.Sprintf(format, args...), nil }}
}

// Replacing is the hook when there may be an option Replace.
func (h Hook) Replacing(old link.Link) Hook {
	h.fresh = old != nil
	return h
}

// pinName returns the name of a pin. The kernel allows no dots in it, and 255 bytes.
func pinName(symbol, hook string) string {
	const most = 200
	whole := symbol + "-" + hook
	plain := strings.Map(func(r rune) rune {
		switch {
		case r == '_' || r == '-' || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z':
			return r
		}
		return '_'
	}, whole)
	if plain == whole && len(plain) <= most {
		return plain
	}
	hash := fnv.New32a()
	hash.Write([]byte(whole))
	return fmt.Sprintf("%.*s-%08x", most, plain, hash.Sum32())
}

// free returns the name, with a number when an open link of this object has it.
func (p *Pins) free(name string) string {
	numbered := name
	for n := 2; p.links[numbered] != nil && !IsClosed(p.links[numbered]); n++ {
		numbered = fmt.Sprintf("%s-%d", name, n)
	}
	return numbered
}

// Undo closes a link, and removes its pin if it was not there before.
func Undo(l link.Link) error {
	var err error
	if w := watchedOf(l); w != nil && w.pin != "" && w.made {
		err = w.Unpin()
	}
	return errors.Join(err, l.Close())
}
