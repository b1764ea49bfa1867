package fakemap

import "github.com/rules-bpf/rules_bpf/runtime/internal/ring"

// Ring is a ring buffer: what Output puts into it, a reader gets.
type Ring struct {
	base
	*ring.Memory
}

func newRing(b base) (Map, error) {
	memory, err := ring.NewMemory(b.spec.MaxEntries)
	if err != nil {
		return nil, err
	}
	return &Ring{b, memory}, nil
}

// AddTo makes the ring buffer one that a reader reads.
func (r *Ring) AddTo(reader *ring.Reader, id int) error { return reader.AddMemory(r.Memory, id) }
