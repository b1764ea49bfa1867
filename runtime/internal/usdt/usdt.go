// Package usdt finds the USDTs of programs and libraries in user space and their arguments, and
// passes these to BPF programs that include bpf/usdt.bpf.h.
//
// The compiler puts a note into the ELF file for each location of a USDT, with the location's
// address, the address of its semaphore, and where the arguments are. Attaching is a uprobe at
// each location, for which the kernel raises the semaphore, and an entry in the map [SpecMap],
// from which the program finds its arguments: by the uprobe's cookie, or on kernels without
// cookies by the location's address in the map [IPMap]. Equal entries share an index, which
// [IDs] gives out. The format of the notes is SystemTap's; the maps and the sequence are
// libbpf's.
package usdt

import (
	"slices"
	"sync"
)

// The maps of bpf/usdt.bpf.h: of struct __bpf_usdt_spec by index, and of indexes by address.
const (
	SpecMap = "__bpf_usdt_specs"
	IPMap   = "__bpf_usdt_ip_to_spec_id"
)

// IDs gives out the indexes of the map of specs. Equal specs share one. The zero value has
// given out none. It has a mutex of its own because closing a link, which users may do at any
// time, gives its indexes back.
type IDs struct {
	mu   sync.Mutex
	ids  map[string]uint32
	uses []use
}

type use struct {
	value string
	count int
}

// Take returns the index for the value of a spec, one that is not in use when isNew, and
// counts the use.
func (u *IDs) Take(value string) (id uint32, isNew bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if id, ok := u.ids[value]; ok {
		u.uses[id].count++
		return id, false
	}
	if u.ids == nil {
		u.ids = make(map[string]uint32)
	}
	i := slices.IndexFunc(u.uses, func(use use) bool { return use.count == 0 })
	if i < 0 {
		i = len(u.uses)
		u.uses = append(u.uses, use{})
	}
	u.uses[i] = use{value, 1}
	u.ids[value] = uint32(i)
	return uint32(i), true
}

// Drop ends a use of an index.
func (u *IDs) Drop(id uint32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.uses[id].count--
	if u.uses[id].count == 0 {
		delete(u.ids, u.uses[id].value)
	}
}
