package skeleton

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// ArenaDesc says where the variables are that C places in an arena. It is zero
// when there are none.
type ArenaDesc struct {
	// Section is the data section that has their initial values.
	Section string
	// Map is the arena.
	Map string
}

// arena is the memory of the map that has the object's arena variables.
//
// The kernel maps an arena once, as a whole and at one address: programs see in
// their pointers the addresses of the first mapping. So the variables cannot have
// the addresses that they had before, as those of other sections have.
type arena struct {
	ArenaDesc
	// initial are the initial values, of an object that exposes no variable.
	initial []byte
	// offset is where in the arena the variables are.
	offset int
	// base is where the arena is mapped, nil when it is not; size is its size, and
	// data that of the variables.
	base       unsafe.Pointer
	size, data int
}

// maxArenaOffset is the end of the offsets that every kernel takes in an instruction
// (BPF_MAX_VAR_OFF).
const maxArenaOffset = 1 << 29

// segvOnFault makes the kernel answer a first access to a page of the arena by user
// space with a signal (BPF_F_SEGV_ON_FAULT).
const segvOnFault = 1 << 17

// place decides where in the arena n bytes of variables are. It is the end, as for
// libbpf, so that no variable has the address 0; the start, when instructions do
// not reach that far.
func (a *arena) place(spec *ebpf.MapSpec, n, pageSize int) error {
	pages := (n + pageSize - 1) / pageSize
	if uint64(pages) > uint64(spec.MaxEntries) {
		return fmt.Errorf("map %s: its variables take %d pages, and it has %d: raise max_entries", a.Map, pages, spec.MaxEntries)
	}
	if uint64(spec.MaxEntries)*uint64(pageSize) > math.MaxInt {
		return fmt.Errorf("map %s: %d pages are more than this process can map: lower max_entries", a.Map, spec.MaxEntries)
	}
	if spec.Flags&segvOnFault != 0 {
		return fmt.Errorf("map %s: an arena with BPF_F_SEGV_ON_FAULT has no pages for variables: remove the flag, or the variables", a.Map)
	}
	a.size, a.data = int(spec.MaxEntries)*pageSize, pages*pageSize
	a.offset = a.size - a.data
	if a.offset >= maxArenaOffset {
		a.offset = 0
	}
	return nil
}

// create creates the map, or takes other, which is not nil when a map is to be used
// in its place, and maps it. Programs that refer to an arena cannot be loaded
// before. A new map gets the values; another one keeps its own.
func (a *arena) create(spec *ebpf.MapSpec, values []byte, other *ebpf.Map, opts ebpf.MapOptions) (*ebpf.Map, error) {
	if err := a.place(spec, len(values), os.Getpagesize()); err != nil {
		return nil, err
	}
	m := other
	var err error
	if other == nil {
		m, err = ebpf.NewMapWithOptions(spec, opts)
	} else if m, err = other.Clone(); err == nil {
		err = spec.Compatible(m)
	}
	if err == nil {
		a.base, err = mapArena(m.FD(), uintptr(spec.MapExtra), a.size)
	}
	if err != nil {
		if m != nil {
			err = errors.Join(err, m.Close())
		}
		return nil, fmt.Errorf("map %s: %w", a.Map, err)
	}
	if other == nil {
		copy(unsafe.Slice((*byte)(a.pointer()), len(values)), values)
	}
	return m, nil
}

// pointer is where the variables are.
func (a *arena) pointer() unsafe.Pointer { return unsafe.Add(a.base, a.offset) }

// patch makes the instructions that refer to the variables refer to the arena.
func (a *arena) patch(insns asm.Instructions) error {
	for i := range insns {
		ins := &insns[i]
		if ins.Src != asm.PseudoMapValue || ins.Reference() != a.Section {
			continue
		}
		*ins = ins.WithReference(a.Map)
		if err := ins.RewriteMapOffset(uint32(uint64(ins.Constant)>>32) + uint32(a.offset)); err != nil {
			return err
		}
	}
	return nil
}

// addrSpaceCast is the offset that makes a move of a register a conversion of a
// pointer into an arena (BPF_ADDR_SPACE_CAST).
const addrSpaceCast = 1

// checkCasts returns an error when the loader would not tell the kernel all of what
// the program is: cilium/ebpf v0.22 writes a conversion of a pointer as a plain
// move, and the verifier rejects the access that follows.
func checkCasts(insns asm.Instructions) error {
	for _, ins := range insns {
		if ins.OpCode == asm.Mov.Op(asm.RegSource) && ins.Offset == addrSpaceCast && !keepsCasts(ins) {
			return errors.New("has pointers into an arena, which this version of github.com/cilium/ebpf cannot load (it drops the address space of addr_space_cast): leave the program out with SetAutoload(false), or update the module when a version can")
		}
	}
	return nil
}

// keepsCasts says whether the loader writes the instruction as the compiler did.
func keepsCasts(ins asm.Instruction) bool {
	var buf bytes.Buffer
	if _, err := ins.Marshal(&buf, binary.NativeEndian); err != nil || buf.Len() != asm.InstructionSize {
		return false
	}
	return binary.NativeEndian.Uint16(buf.Bytes()[2:]) == addrSpaceCast
}
