package loader

import (
	"errors"
	"fmt"
	"math"
	"os"
	"unsafe"

	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// maxArenaOffset is the end of the offsets that every kernel takes in an instruction
// (BPF_MAX_VAR_OFF).
const maxArenaOffset = 1 << 29

// layOut decides where in the arena its variables are. It is the end, as for libbpf where
// the kernel takes any offset, so that no variable has the address 0; the start, when
// instructions do not reach that far.
func (m *Map) layOut(pageSize int) (Arena, error) {
	n := max(m.arenaData, len(m.Contents))
	pages := (n + pageSize - 1) / pageSize
	if uint64(pages) > uint64(m.MaxEntries) {
		return Arena{}, fmt.Errorf("its variables take %d pages, and it has %d: raise max_entries", pages, m.MaxEntries)
	}
	if m.MaxEntries == 0 {
		return Arena{}, errors.New("it has no pages: set max_entries, their number")
	}
	if uint64(m.MaxEntries)*uint64(pageSize) > math.MaxInt {
		return Arena{}, fmt.Errorf("%d pages are more than this process can map: lower max_entries", m.MaxEntries)
	}
	if pages > 0 && m.Flags&sys.SegvOnFault != 0 {
		return Arena{}, errors.New("an arena with BPF_F_SEGV_ON_FAULT has no pages for variables: remove the flag, or the variables")
	}
	a := Arena{Size: int(m.MaxEntries) * pageSize, Data: pages * pageSize}
	a.Offset = a.Size - a.Data
	if a.Offset >= maxArenaOffset {
		a.Offset = 0
	}
	return a, nil
}

// mapArena maps the arena, without which no program can use it, and writes the initial
// values of its variables. A map that was taken keeps its own.
func (m *Map) mapArena() error {
	a, err := m.layOut(os.Getpagesize())
	if err != nil {
		return err
	}
	mapped, err := mapArena(m.Map.FD(), uintptr(m.Extra), a.Size)
	if err != nil {
		return err
	}
	mapped.Offset, mapped.Data = a.Offset, a.Data
	m.Arena = mapped
	// Its pages are zero, and there are none until they are written to.
	if !m.Taken && !isZero(m.Contents) {
		copy(unsafe.Slice((*byte)(mapped.Variables()), len(m.Contents)), m.Contents)
	}
	return nil
}

// Variables is where the variables are.
func (a *Arena) Variables() unsafe.Pointer { return unsafe.Add(a.Base, a.Offset) }
