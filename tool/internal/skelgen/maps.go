package skelgen

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/subskel"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/gonames"
	"github.com/rules-bpf/rules_bpf/tool/internal/gotype"
)

// mapField is a field of the struct Maps.
type mapField struct {
	named
	handle
	// note is what the comment says after the C name.
	note string
	// weak is true when the object of a library need not have the map.
	weak bool
}

// handle is that of a map.
type handle struct {
	// name is its type, one of package skeleton's.
	name string
	mapTypes
}

// mapTypes is what the runtime must know of the Go types of a map's keys and values: it
// is zero for a map without.
type mapTypes struct {
	key, value uint64
	padding    []gotype.Span
	inner      *mapTypes
}

var untyped = handle{name: "UntypedMap"}

// appendMapTypes appends t as an expression, without its type.
func appendMapTypes(b []byte, t mapTypes) []byte {
	b = fmt.Appendf(b, "{Key: %d, Value: %d", t.key, t.value)
	for i, p := range t.padding {
		sep := ", "
		if i == 0 {
			sep = ", Padding: []skelimpl.Span{"
		}
		b = fmt.Appendf(b, "%s{Start: %d, End: %d}", sep, p.Start, p.End)
	}
	if len(t.padding) > 0 {
		b = append(b, '}')
	}
	if t.inner != nil {
		b = appendMapTypes(append(b, ", Inner: &skelimpl.MapTypes"...), *t.inner)
	}
	return append(b, '}')
}

// typeMaps gives the fields of the maps that nameHandles has named their types. It
// comes after the types of variables, which are there first.
//
// A map whose types have no Go form is not an error: what it holds can be read and
// written as bytes, and the comment gives the reason.
//
// A declaration that loaders do not read is one: Open would refuse the object.
func (g *generator) typeMaps(maps []bpfobj.Map) []error {
	var errs []error
	for i, m := range maps {
		f := &g.maps[i]
		def, err := m.Def()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		f.note = subskel.MapTypeName(def.Type)
		f.handle, err = g.handleOf(def, f.named)
		if err != nil {
			f.handle = untyped
			f.note += ", untyped: " + err.Error()
		}
		f.note += g.recordNote(def, f.named)
		switch def.Pinning {
		case 0:
		case 1:
			f.note += ", pinned by name"
		default:
			f.note += fmt.Sprintf(", pinning %d of another loader: call SetPinning or SetPinPath before Load", def.Pinning)
		}
	}
	return errs
}

// recordNote declares the type of the records of a ring buffer or a perf event array, which is
// the type of values in the map's declaration, and returns a note for the map's comment. A
// type without a Go form is not declared, as the handle does not need it.
func (g *generator) recordNote(def *bpfobj.MapDef, name named) string {
	switch def.Type {
	case ebpf.RingBuf, ebpf.UserRingbuf, ebpf.PerfEventArray:
	default:
		return ""
	}
	if _, isStruct := btf.UnderlyingType(def.Value).(*btf.Struct); !isStruct {
		return ""
	}
	typ, err := g.mapType(def.Value, def.ValueSize, name, "value")
	if err != nil {
		return ", records without a Go type: " + err.Error()
	}
	return ", records of type " + typ.String()
}

// handle returns the type of the handle for a map that is declared by def, and
// whose types, when they have no name, are named after it.
func (g *generator) handleOf(def *bpfobj.MapDef, name named) (handle, error) {
	switch def.Type {
	case ebpf.RingBuf:
		return handle{name: "RingBuffer"}, nil
	case ebpf.PerfEventArray:
		return handle{name: "PerfEventArray"}, nil
	case ebpf.UserRingbuf:
		return handle{name: "UserRingBuffer"}, nil
	case ebpf.ProgramArray:
		return handle{name: "ProgArray"}, nil
	case ebpf.BloomFilter:
		return g.keyless("BloomFilter", def, name)
	case ebpf.SkStorage, ebpf.InodeStorage, ebpf.TaskStorage, ebpf.CgroupStorage:
		// The keys are file descriptors, as the kernel has it.
		return g.keyless("StorageMap", def, name)
	case ebpf.Queue, ebpf.Stack:
		return g.keyless("Queue", def, name)
	case ebpf.PerCPUHash, ebpf.PerCPUArray, ebpf.LRUCPUHash, ebpf.PerCPUCGroupStorage:
		return g.keyed("PerCPUMap", def, name)
	case ebpf.Hash, ebpf.LRUHash, ebpf.Array, ebpf.LPMTrie, ebpf.CGroupStorage:
		return g.keyed("Map", def, name)
	case ebpf.StackTrace:
		return handle{name: "StackTraceMap"}, nil
	case ebpf.DevMap, ebpf.DevMapHash:
		return handle{name: "DevMap"}, nil
	case ebpf.CPUMap:
		return handle{name: "CPUMap"}, nil
	case ebpf.XSKMap:
		return handle{name: "XSKMap"}, nil
	case ebpf.SockMap, ebpf.ReusePortSockArray:
		return handle{name: "SockMap"}, nil
	case ebpf.CGroupArray:
		return handle{name: "CgroupArray"}, nil
	case ebpf.SockHash:
		return g.sockHash(def, name)
	case ebpf.HashOfMaps, ebpf.ArrayOfMaps:
		return g.mapOfMaps(def, name)
	}
	// What the others hold is no data that user space reads or writes.
	return untyped, nil
}

func (g *generator) keyless(kind string, def *bpfobj.MapDef, name named) (handle, error) {
	value, err := g.mapType(def.Value, def.ValueSize, name, "value")
	if err != nil {
		return handle{}, err
	}
	types := mapTypes{value: value.Size()}
	switch kind {
	case "StorageMap":
		types.key = 4
	case "BloomFilter":
		// The kernel compares all bytes of values, as it does with keys elsewhere.
		types.padding = gotype.Padding(value)
	}
	return handle{kind + "[" + value.String() + "]", types}, nil
}

func (g *generator) keyed(kind string, def *bpfobj.MapDef, name named) (handle, error) {
	key, err := g.keyType(def, name)
	if err != nil {
		return handle{}, err
	}
	value, err := g.mapType(def.Value, def.ValueSize, name, "value")
	if err != nil {
		return handle{}, err
	}
	types := mapTypes{key: key.Size(), value: value.Size(), padding: gotype.Padding(key)}
	return handle{kind + "[" + key.String() + ", " + value.String() + "]", types}, nil
}

// mapOfMaps returns the type of a map of maps. An inner map that has no types, or
// is declared by the program that puts it there, is untyped.
func (g *generator) mapOfMaps(def *bpfobj.MapDef, name named) (handle, error) {
	key, err := g.keyType(def, name)
	if err != nil {
		return handle{}, err
	}
	inner := untyped
	if def.Inner != nil {
		typed, err := g.handleOf(def.Inner, named{goName: name.goName + "Inner", c: name.c + "'s inner maps"})
		if err == nil {
			inner = typed
		}
	}
	// The kernel's values are the IDs of inner maps, or file descriptors: 4 bytes each.
	types := mapTypes{key: key.Size(), value: 4, padding: gotype.Padding(key)}
	if inner.key|inner.value != 0 {
		types.inner = &inner.mapTypes
	}
	return handle{"MapOfMaps[" + key.String() + ", skeleton." + inner.name + "]", types}, nil
}

// sockHash returns the type of a hash of sockets. Its values are file descriptors for user
// space, whatever the declaration says of them.
func (g *generator) sockHash(def *bpfobj.MapDef, name named) (handle, error) {
	key, err := g.keyType(def, name)
	if err != nil {
		return handle{}, err
	}
	value := uint64(def.ValueSize)
	if def.Value != nil {
		n, err := btf.Sizeof(def.Value)
		if err != nil {
			return handle{}, fmt.Errorf("value: %w", err)
		}
		value = uint64(n)
	}
	return handle{"SockHash[" + key.String() + "]", mapTypes{key: key.Size(), value: value, padding: gotype.Padding(key)}}, nil
}

// keyType returns the Go type of a map's keys. Where the declaration has their size alone,
// it is that of arrays, which have no other keys.
func (g *generator) keyType(def *bpfobj.MapDef, name named) (gotype.Type, error) {
	t := def.Key
	if t == nil && def.KeySize == 4 {
		switch def.Type {
		case ebpf.Array, ebpf.PerCPUArray, ebpf.ArrayOfMaps:
			t = &btf.Int{Name: "unsigned int", Size: 4}
		}
	}
	return g.mapType(t, def.KeySize, name, "key")
}

// mapType returns the Go type of a map's keys or values, which part says.
func (g *generator) mapType(t btf.Type, size uint32, name named, part string) (gotype.Type, error) {
	switch {
	case t == nil && size != 0:
		return nil, fmt.Errorf("the declaration gives the size of the %s and no type", part)
	case t == nil:
		return nil, fmt.Errorf("the declaration gives no %s", part)
	}
	typ, err := g.types.Convert(t, name.goName+gonames.Export(part), "the "+part+" of map "+quote.Text(name.c))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", part, err)
	}
	// The kernel reads and writes as many bytes as BTF says.
	if n, err := btf.Sizeof(t); err != nil || uint64(n) != typ.Size() {
		return nil, fmt.Errorf("%s: has %d bytes in C and %d in Go", part, n, typ.Size())
	}
	return typ, nil
}

// declareTypes declares the C types that the caller names.
func (g *generator) declareTypes(obj *bpfobj.Object, names []string) []error {
	var errs []error
	for _, name := range names {
		t, err := obj.TypeByName(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		_, tag := bpfobj.SplitType(name)
		goName := gonames.Export(tag)
		typ, err := g.types.Convert(t, goName, "the C type "+quote.Text(tag))
		if err != nil {
			errs = append(errs, fmt.Errorf("type %s: %w: leave it out, or change it", quote.Name(name), err))
			continue
		}
		if !g.types.Declares(typ) {
			errs = append(errs, fmt.Errorf("type %s: is %s in Go, which needs no declaration: leave it out", quote.Name(name), typ))
		}
	}
	return errs
}
