package bpfobj

import (
	"fmt"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/bpflib"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
)

// MapKind is a type of BPF maps, by the kernel's number.
type MapKind uint32

// The kinds are those of the kernel's enum bpf_map_type, by its names.
const (
	HashMap                MapKind = 1
	ArrayMap               MapKind = 2
	ProgArrayMap           MapKind = 3
	PerfEventArrayMap      MapKind = 4
	PerCPUHashMap          MapKind = 5
	PerCPUArrayMap         MapKind = 6
	StackTraceMap          MapKind = 7
	CgroupArrayMap         MapKind = 8
	LRUHashMap             MapKind = 9
	LRUPerCPUHashMap       MapKind = 10
	LPMTrieMap             MapKind = 11
	ArrayOfMapsMap         MapKind = 12
	HashOfMapsMap          MapKind = 13
	DevMap                 MapKind = 14
	SockMap                MapKind = 15
	CPUMap                 MapKind = 16
	XSKMap                 MapKind = 17
	SockHashMap            MapKind = 18
	CgroupStorageMap       MapKind = 19
	ReuseportSockArrayMap  MapKind = 20
	PerCPUCgroupStorageMap MapKind = 21
	QueueMap               MapKind = 22
	StackMap               MapKind = 23
	SKStorageMap           MapKind = 24
	DevHashMap             MapKind = 25
	StructOpsMap           MapKind = 26
	RingBufMap             MapKind = 27
	InodeStorageMap        MapKind = 28
	TaskStorageMap         MapKind = 29
	BloomFilterMap         MapKind = 30
	UserRingBufMap         MapKind = 31
	CgrpStorageMap         MapKind = 32
	ArenaMap               MapKind = 33
)

// String is the kind as C spells it, or its number for a kind that is newer than
// this code.
func (k MapKind) String() string { return bpflib.KindName(uint32(k)) }

// Map is a map declared in C.
type Map struct {
	Name string
	// Type is the type of the variable that declares the map.
	Type btf.Type
	// Hidden says that the map is for the object's own files only.
	Hidden bool
	// Extern says that a library declares the map and does not define it, and Weak
	// that no file needs to.
	Extern, Weak bool
}

// MapDef is what a map's declaration says, as far as it decides the map's types.
type MapDef struct {
	Kind MapKind
	// Key and Value are nil when the declaration does not have them.
	Key, Value btf.Type
	// KeySize and ValueSize are given instead of types.
	KeySize, ValueSize uint32
	// Inner is the declaration of the maps that are a map's values.
	Inner *MapDef
}

// Def returns what the map's declaration says. It fails for a declaration in a
// form that loaders do not know.
func (m *Map) Def() (*MapDef, error) {
	def, err := mapDef(m.Type, false)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", elfobj.Quote(m.Name), err)
	}
	return def, nil
}

// mapDef reads a declaration: a struct whose members' types are what they say.
func mapDef(t btf.Type, inner bool) (*MapDef, error) {
	decl, ok := btf.As[*btf.Struct](t)
	if !ok {
		return nil, fmt.Errorf("is not a struct of __uint, __type and __array members")
	}
	def := new(MapDef)
	for _, m := range decl.Members {
		var err error
		switch m.Name {
		case "type":
			var kind uint32
			kind, err = mapNumber(m.Type)
			def.Kind = MapKind(kind)
		case "key":
			def.Key, err = pointee(m.Type)
		case "value":
			def.Value, err = pointee(m.Type)
		case "key_size":
			def.KeySize, err = mapNumber(m.Type)
		case "value_size":
			def.ValueSize, err = mapNumber(m.Type)
		case "values":
			if !inner {
				def.Inner, err = innerDef(m.Type)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("member %s of the declaration %w", elfobj.Quote(m.Name), err)
		}
	}
	return def, nil
}

// mapNumber reads a member that was declared with __uint, a pointer to an array of
// so many elements, or with __ulong, an enum.
func mapNumber(t btf.Type) (uint32, error) {
	if enum, ok := btf.As[*btf.Enum](t); ok && len(enum.Values) == 1 {
		return uint32(enum.Values[0].Value), nil
	}
	if p, ok := btf.As[*btf.Pointer](t); ok {
		if array, ok := btf.As[*btf.Array](p.Target); ok {
			return array.Nelems, nil
		}
	}
	return 0, fmt.Errorf("is no number: declare it with __uint")
}

// pointee reads a member that was declared with __type.
func pointee(t btf.Type) (btf.Type, error) {
	p, ok := btf.As[*btf.Pointer](t)
	if !ok {
		return nil, fmt.Errorf("is no type: declare it with __type")
	}
	return p.Target, nil
}

// innerDef reads a member that was declared with __array: an array of pointers,
// to maps or to programs. For programs it returns nil.
func innerDef(t btf.Type) (*MapDef, error) {
	if array, ok := btf.As[*btf.Array](t); ok {
		if p, ok := btf.As[*btf.Pointer](array.Type); ok {
			if _, ok := btf.As[*btf.FuncProto](p.Target); ok {
				return nil, nil
			}
			return mapDef(p.Target, true)
		}
	}
	return nil, fmt.Errorf("is no array of pointers: declare it with __array")
}
