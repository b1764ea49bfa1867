//go:build linux

package differential

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
)

// Snapshot is what the kernel has of an object.
type Snapshot struct {
	maps, programs map[string]entry
	// arena is true when one of the maps is an arena.
	arena bool
}

// entry is what the kernel says of a map or a program. Texts differ when things do, but for
// the lines of code, which are compared with what they may differ in.
type entry struct {
	facts []fact
	code  []instruction
}

type fact struct {
	name, value string
}

// instruction is one, or a 64-bit load of two.
type instruction struct {
	code, registers uint8
	offset          int16
	immediate       int64
	// name is that of the map which the instruction refers to.
	name string
}

func (i instruction) String() string {
	s := fmt.Sprintf("%#02x regs %#02x off %d imm %#x", i.code, i.registers, i.offset, i.immediate)
	if i.name != "" {
		s += " of map " + i.name
	}
	return s
}

// taking is a snapshot that is being taken.
type taking struct {
	// mapNames and programNames are by the kernel's IDs.
	mapNames, programNames map[uint32]string
	types                  map[uint32]*rawbtf.Types
}

// Take takes a snapshot of an object's maps and programs. Those without an ID were not
// made.
func Take(maps, programs []Made) (*Snapshot, error) {
	t := &taking{make(map[uint32]string), make(map[uint32]string), make(map[uint32]*rawbtf.Types)}
	for _, m := range maps {
		t.mapNames[m.ID] = m.Name
	}
	for _, p := range programs {
		t.programNames[p.ID] = p.Name
	}
	s := &Snapshot{maps: make(map[string]entry), programs: make(map[string]entry)}
	for _, m := range maps {
		if m.ID == 0 {
			continue
		}
		e, err := t.takeMap(m)
		if err != nil {
			return nil, fmt.Errorf("map %s: %w", m.Name, err)
		}
		s.maps[m.Name] = e
		s.arena = s.arena || slices.Contains(e.facts, fact{"type", ebpf.Arena.String()})
	}
	for _, p := range programs {
		if p.ID == 0 {
			continue
		}
		e, err := t.takeProgram(p)
		if err != nil {
			return nil, fmt.Errorf("program %s: %w", p.Name, err)
		}
		s.programs[p.Name] = e
	}
	return s, nil
}

// typesOf returns the types of a BTF in the kernel, none for ID 0.
func (t *taking) typesOf(id uint32) (*rawbtf.Types, error) {
	if types := t.types[id]; types != nil || id == 0 {
		return types, nil
	}
	data, err := rawBTF(id)
	if err != nil {
		return nil, fmt.Errorf("BTF: %w", err)
	}
	types, err := rawbtf.New(data, nil)
	t.types[id] = types
	return types, err
}

func describe(types *rawbtf.Types, id uint32) string {
	if types == nil || id == 0 {
		return "none"
	}
	typ := types.At(id)
	size, _ := typ.SizeOf()
	return fmt.Sprintf("kind %d %q of %d bytes", typ.Kind(), typ.Name(), size)
}

func (t *taking) takeMap(m Made) (entry, error) {
	fd, err := byID(unix.BPF_MAP_GET_FD_BY_ID, m.ID)
	if err != nil {
		return entry{}, err
	}
	defer unix.Close(fd)
	var i mapInfo
	if err := info(fd, &i); err != nil {
		return entry{}, err
	}
	types, err := t.typesOf(i.BTF)
	if err != nil {
		return entry{}, err
	}
	isFrozen, err := frozen(fd)
	if err != nil {
		return entry{}, err
	}
	contents, err := t.contents(fd, &i)
	if err != nil {
		return entry{}, err
	}
	return entry{facts: []fact{
		{"name in the kernel", unix.ByteSliceToString(i.Name[:])},
		{"type", ebpf.MapType(i.Type).String()},
		{"key size", fmt.Sprint(i.KeySize)},
		{"value size", fmt.Sprint(i.ValueSize)},
		{"max_entries", fmt.Sprint(i.MaxEntries)},
		{"flags", fmt.Sprintf("%#x", i.Flags)},
		{"map_extra", fmt.Sprintf("%#x", i.Extra)},
		{"ifindex", fmt.Sprint(i.Ifindex)},
		{"BTF", fmt.Sprint(i.BTF != 0)},
		{"key's type", describe(types, i.KeyType)},
		{"value's type", describe(types, i.ValueType)},
		{"value's type in the kernel", fmt.Sprint(i.VmlinuxValueType)},
		{"frozen", fmt.Sprint(isFrozen)},
		{"contents", contents},
	}}, nil
}

// contents returns the elements of maps that an object gives values to.
func (t *taking) contents(fd int, i *mapInfo) (string, error) {
	switch ebpf.MapType(i.Type) {
	case ebpf.Array:
		// A section's only element, or an array that is all zero.
		key, value := make([]byte, 4), make([]byte, (i.ValueSize+7)&^7)
		if i.MaxEntries != 1 {
			return "", nil
		}
		return fmt.Sprintf("%x", value), lookup(fd, key, value)
	case ebpf.ProgramArray:
		return elements(fd, i, t.programNames)
	case ebpf.ArrayOfMaps, ebpf.HashOfMaps:
		return elements(fd, i, t.mapNames)
	}
	return "", nil
}

// elements returns the keys of a map whose values are IDs, with the names of these.
func elements(fd int, i *mapInfo, names map[uint32]string) (string, error) {
	var lines []string
	key, value := make([]byte, i.KeySize), make([]byte, i.ValueSize)
	var after []byte
	for n := uint32(0); n < i.MaxEntries; n++ {
		err := next(fd, key, after)
		if errors.Is(err, unix.ENOENT) {
			break
		}
		if err != nil {
			return "", err
		}
		if err := lookup(fd, key, value); err == nil {
			lines = append(lines, fmt.Sprintf("%x: %s\n", key, names[binary.NativeEndian.Uint32(value)]))
		} else if !errors.Is(err, unix.ENOENT) {
			return "", err
		}
		after = append(after[:0], key...)
	}
	// That of a hash is another one each time.
	slices.Sort(lines)
	return strings.Join(lines, ""), nil
}

func (t *taking) takeProgram(p Made) (entry, error) {
	fd, err := byID(unix.BPF_PROG_GET_FD_BY_ID, p.ID)
	if err != nil {
		return entry{}, err
	}
	defer unix.Close(fd)
	i, code, funcs, lines, err := programInfo(fd)
	if err != nil {
		return entry{}, err
	}
	types, err := t.typesOf(i.BTF)
	if err != nil {
		return entry{}, err
	}
	attachType := ebpf.AttachType(p.AttachType).String()
	if ebpf.ProgramType(i.Type) == ebpf.StructOps {
		// It is the number of the member, which the verifier has looked at.
		attachType = ""
	}
	e := entry{facts: []fact{
		{"name in the kernel", unix.ByteSliceToString(i.Name[:])},
		{"type", ebpf.ProgramType(i.Type).String()},
		{"expected attach type", attachType},
		{"ifindex", fmt.Sprint(i.Ifindex)},
		{"GPL compatible", fmt.Sprint(i.GPLCompatible & 1)},
		{"BTF", fmt.Sprint(i.BTF != 0)},
		{"attach BTF ID", fmt.Sprint(i.AttachBTF)},
		{"functions", functions(types, funcs, int(i.FuncInfoRecSize))},
		{"lines", lineTable(types, lines, int(i.LineInfoRecSize))},
	}}
	e.code = t.instructions(code)
	return e, nil
}

func functions(types *rawbtf.Types, records []byte, size int) string {
	var b strings.Builder
	for ; size > 0 && len(records) >= size; records = records[size:] {
		fmt.Fprintf(&b, "%d: %s\n", u32(records), describe(types, u32(records[4:])))
	}
	return b.String()
}

func lineTable(types *rawbtf.Types, records []byte, size int) string {
	var b strings.Builder
	for ; size > 0 && len(records) >= size; records = records[size:] {
		column := u32(records[12:])
		fmt.Fprintf(&b, "%d: %s:%d:%d %s\n", u32(records),
			types.String(u32(records[4:])), column>>10, column&0x3ff, types.String(u32(records[8:])))
	}
	return b.String()
}

func u32(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }

// The parts of instructions that matter here: <linux/bpf.h>.
const (
	load64         = unix.BPF_LD | unix.BPF_DW | unix.BPF_IMM
	pseudoMapFD    = 1
	pseudoMapValue = 2
)

// instructions decodes the code, with the names of maps in place of their IDs.
func (t *taking) instructions(code []byte) []instruction {
	var out []instruction
	for ; len(code) >= 8; code = code[8:] {
		i := instruction{
			code:      code[0],
			registers: code[1],
			offset:    int16(binary.NativeEndian.Uint16(code[2:])),
			immediate: int64(int32(u32(code[4:]))),
		}
		if i.code == load64 && len(code) >= 16 {
			high := u32(code[12:])
			// The source register says what is loaded.
			switch source := i.registers >> 4; source {
			case pseudoMapFD, pseudoMapValue:
				i.name = t.mapNames[uint32(i.immediate)]
				i.immediate = int64(high)
			default:
				i.immediate = int64(high)<<32 | i.immediate&0xffffffff
			}
			code = code[8:]
		}
		out = append(out, i)
	}
	return out
}
