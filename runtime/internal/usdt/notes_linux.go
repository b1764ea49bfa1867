package usdt

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/rules-bpf/rules_bpf/runtime/internal/usersym"
)

const (
	noteSection = ".note.stapsdt"
	baseSection = ".stapsdt.base"
	noteName    = "stapsdt"
	noteType    = 3
)

// note is one location of a USDT.
type note struct {
	provider, name, args string
	// addr is the address of the location, semaphore that of its semaphore or 0, as in
	// the file's program headers.
	addr, semaphore uint64
}

// notesOf returns the locations of all USDTs of the file.
func notesOf(f *usersym.File) ([]note, error) {
	sec := f.Section(noteSection)
	if sec == nil {
		return nil, fmt.Errorf("%s: has no USDTs: there is no section %s: %w", f.Path, noteSection, fs.ErrNotExist)
	}
	data, err := sec.Data()
	if err != nil {
		return nil, fmt.Errorf("%s: section %s: %w", f.Path, noteSection, err)
	}
	// prelink moves segments, and not the addresses in notes. The address of this
	// section, which it moves too, shows how far.
	var base uint64
	if sec := f.Section(baseSection); sec != nil {
		base = sec.Addr
	}
	var notes []note
	for len(data) > 0 {
		name, desc, typ, rest, err := cutNote(f, data)
		if err != nil {
			return nil, fmt.Errorf("%s: section %s: %w", f.Path, noteSection, err)
		}
		data = rest
		if name != noteName || typ != noteType {
			continue
		}
		n, err := parseNote(f, desc, base)
		if err != nil {
			return nil, fmt.Errorf("%s: section %s: %w", f.Path, noteSection, err)
		}
		notes = append(notes, n)
	}
	return notes, nil
}

var errNote = errors.New("note is damaged")

// cutNote cuts the first note off data: its name and its descriptor, each padded
// to a multiple of 4 bytes, after their lengths and a type.
func cutNote(f *usersym.File, data []byte) (name string, desc []byte, typ uint32, rest []byte, err error) {
	if len(data) < 12 {
		return "", nil, 0, nil, errNote
	}
	nameLen := uint64(f.ByteOrder.Uint32(data))
	descLen := uint64(f.ByteOrder.Uint32(data[4:]))
	typ = f.ByteOrder.Uint32(data[8:])
	data = data[12:]
	padded := func(n uint64) uint64 { return (n + 3) &^ 3 }
	if padded(nameLen) > uint64(len(data)) || descLen > uint64(len(data))-padded(nameLen) {
		return "", nil, 0, nil, errNote
	}
	name = string(bytes.TrimRight(data[:nameLen], "\x00"))
	data = data[padded(nameLen):]
	desc = data[:descLen]
	return name, desc, typ, data[min(padded(descLen), uint64(len(data))):], nil
}

// parseNote parses a note's descriptor: three addresses and three strings.
func parseNote(f *usersym.File, desc []byte, base uint64) (note, error) {
	word := 8
	if f.Class == elf.ELFCLASS32 {
		word = 4
	}
	if len(desc) < 3*word {
		return note{}, errNote
	}
	var addrs [3]uint64
	for i := range addrs {
		if word == 4 {
			addrs[i] = uint64(f.ByteOrder.Uint32(desc[i*word:]))
		} else {
			addrs[i] = f.ByteOrder.Uint64(desc[i*word:])
		}
	}
	text := strings.SplitN(string(desc[3*word:]), "\x00", 4)
	if len(text) != 4 {
		return note{}, errNote
	}
	n := note{provider: text[0], name: text[1], args: text[2], addr: addrs[0], semaphore: addrs[2]}
	if n.args == ":" {
		// Some versions of the assembler write this for no arguments.
		n.args = ""
	}
	if base != 0 && addrs[1] != 0 {
		n.addr += base - addrs[1]
		if n.semaphore != 0 {
			n.semaphore += base - addrs[1]
		}
	}
	return n, nil
}

// Location is where a uprobe of a USDT goes.
type Location struct {
	// Offset and Semaphore are offsets in the file, Semaphore 0 when there is none. IP is the
	// address in memory, for kernels without cookies: see [Resolve].
	Offset, Semaphore, IP uint64
	// Args are the arguments as in the note: see [ParseArgs].
	Args string
}

// Locations returns where the USDT provider:name is in the file. It fails with
// [fs.ErrNotExist] when the file does not have it.
func Locations(f *usersym.File, provider, name string) ([]Location, error) {
	notes, err := notesOf(f)
	if err != nil {
		return nil, err
	}
	var locations []Location
	for _, n := range notes {
		if n.provider != provider || n.name != name {
			continue
		}
		offset, seg, ok := f.FileOffset(n.addr)
		if !ok || seg.Flags&elf.PF_X == 0 {
			return nil, fmt.Errorf("%s: USDT %s:%s at address %#x is not in a segment with code", f.Path, provider, name, n.addr)
		}
		p := Location{Offset: offset, IP: n.addr, Args: n.args}
		if n.semaphore != 0 {
			semaphore, seg, ok := f.FileOffset(n.semaphore)
			if !ok || seg.Flags&elf.PF_W == 0 || semaphore-seg.Off >= seg.Filesz {
				return nil, fmt.Errorf("%s: USDT %s:%s: its semaphore at address %#x is not in data that the file has", f.Path, provider, name, n.semaphore)
			}
			p.Semaphore = semaphore
		}
		locations = append(locations, p)
	}
	if len(locations) == 0 {
		return nil, fmt.Errorf("%s: has no USDT %s:%s: %w", f.Path, provider, name, fs.ErrNotExist)
	}
	return locations, nil
}
