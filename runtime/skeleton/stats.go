package skeleton

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// Stats are figures of a loaded object at one time, for monitoring: counters only grow, the
// rest are gauges.
type Stats struct {
	// Programs are those that are loaded, in the order of the object.
	Programs []ProgramStats
	// Maps are those that are created, in the order of the object, those of data sections
	// among them.
	Maps []MapStats
}

// ProgramStats are figures of a program.
type ProgramStats struct {
	// Name is that of the C function, Section the argument of SEC().
	Name, Section string
	Type          ebpf.ProgramType
	ID            ebpf.ProgramID
	// RunTime and RunCount are counters of the program's runs. The kernel counts only while
	// that is enabled: by [ebpf.EnableStats], or by the sysctl kernel.bpf_stats_enabled.
	RunTime  time.Duration
	RunCount uint64
	// RecursionMisses is a counter of runs that were left out because the program was running
	// on that CPU already (kernel 5.12).
	RecursionMisses uint64
	// VerifiedInstructions is how many instructions the verifier went through, counting an
	// instruction again for each state (kernel 5.16; 0 before).
	VerifiedInstructions uint32
	// TranslatedBytes and JITedBytes are the size of the instructions in the kernel, before
	// and after compilation; the latter is 0 without JIT.
	TranslatedBytes, JITedBytes uint32
	// Links is how many links of the program are open.
	Links int
}

// MapStats are figures of a map.
type MapStats struct {
	// Name is that of the C variable, or of the data section.
	Name string
	Type ebpf.MapType
	ID   ebpf.MapID
	// MaxEntries is how many elements there may be. It is 0 for maps that belong to other
	// things, such as sockets.
	MaxEntries uint32
	// MemoryBytes is what the kernel has allocated for the map, by its own account: before
	// kernel 6.4 an estimate by its size. It is 0 where /proc is not mounted.
	MemoryBytes uint64
}

// Stats returns figures of the programs and maps. It makes one system call for each program
// and a few for each map, so that it can be called for every request of a monitoring system.
// It fails with [ErrNotLoaded] before Load, and with [ErrClosed] after Close.
func (o *Object) Stats() (Stats, error) {
	if !isOpen(o) {
		return Stats{}, fmt.Errorf("stats: %w", ErrNotOpen)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch o.state {
	case opened, prepared:
		return Stats{}, fmt.Errorf("stats of %s: %w", o.name, ErrNotLoaded)
	case closed:
		return Stats{}, fmt.Errorf("stats of %s: %w", o.name, ErrClosed)
	}
	var stats Stats
	for _, p := range o.progs {
		if p.Program() == nil {
			continue
		}
		s, err := p.stats()
		if err != nil {
			return Stats{}, p.fail(fmt.Errorf("stats: %w", err))
		}
		stats.Programs = append(stats.Programs, s)
	}
	for _, m := range o.maps {
		made := m.Map()
		if made == nil {
			continue
		}
		info, err := made.Info()
		if err != nil {
			return Stats{}, fmt.Errorf("map %s: stats: %w", m.Name(), err)
		}
		s := MapStats{Name: m.Name(), Type: made.Type(), MaxEntries: made.MaxEntries()}
		s.ID, _ = info.ID()
		s.MemoryBytes, _ = info.Memlock()
		stats.Maps = append(stats.Maps, s)
	}
	return stats, nil
}

// stats returns figures of a loaded program. The owner's mutex must be held.
func (p *BaseProgram) stats() (ProgramStats, error) {
	prog := p.Program()
	var info sys.ProgInfo
	if err := sys.GetInfoByFD(prog.FD(), &info); err != nil {
		return ProgramStats{}, err
	}
	s := ProgramStats{
		Name:                 p.name,
		Section:              p.section,
		Type:                 prog.Type(),
		ID:                   ebpf.ProgramID(info.ID),
		RunTime:              time.Duration(info.RunTime),
		RunCount:             info.RunCount,
		RecursionMisses:      info.Misses,
		VerifiedInstructions: info.VerifiedInsns,
		TranslatedBytes:      info.XlatedLen,
		JITedBytes:           info.JitedLen,
		Links:                len(p.further.Open()),
	}
	if p.slotInUse() {
		s.Links++
	}
	return s, nil
}
