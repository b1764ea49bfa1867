package skelgen

import (
	"fmt"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/gonames"
	"github.com/rules-bpf/rules_bpf/tool/internal/gotype"
)

// mapField is a field of the struct Maps.
type mapField struct {
	named
	// handle is the type of the handle, one of package skeleton's.
	handle string
	// note is what the comment says after the C name.
	note string
}

const untyped = "UntypedMap"

// nameMaps gives each map of the object's own its field.
func (g *generator) nameMaps(maps []bpfobj.Map) *gonames.Scope {
	scope := gonames.NewScope()
	for _, m := range maps {
		g.maps = append(g.maps, mapField{named: named{scope.Export(m.Name), m.Name}})
	}
	return scope
}

// typeMaps gives the fields of the maps that nameMaps has named their types. It
// comes after the types of variables, which are there first.
//
// A map whose types have no Go form is no error: what it holds can be read and
// written as bytes, and the comment says what the matter is.
func (g *generator) typeMaps(maps []bpfobj.Map) {
	for i, m := range maps {
		f := &g.maps[i]
		def, err := m.Def()
		if err != nil {
			f.handle, f.note = untyped, "untyped: "+err.Error()
			continue
		}
		f.note = def.Kind.String()
		f.handle, err = g.handle(def, f.named)
		if err != nil {
			f.handle = untyped
			f.note += ", untyped: " + err.Error()
		}
	}
}

// handle returns the type of the handle for a map that is declared by def, and
// whose types, when they have no name, are named after it.
func (g *generator) handle(def *bpfobj.MapDef, name named) (string, error) {
	switch def.Kind {
	case bpfobj.RingBufMap:
		return "RingBuffer", nil
	case bpfobj.PerfEventArrayMap:
		return "PerfEventArray", nil
	case bpfobj.UserRingBufMap:
		return "UserRingBuffer", nil
	case bpfobj.ProgArrayMap:
		return "ProgArray", nil
	case bpfobj.BloomFilterMap:
		return g.keyless("BloomFilter", def, name)
	case bpfobj.SKStorageMap, bpfobj.InodeStorageMap, bpfobj.TaskStorageMap, bpfobj.CgrpStorageMap:
		// The keys are file descriptors, as the kernel has it.
		return g.keyless("StorageMap", def, name)
	case bpfobj.QueueMap, bpfobj.StackMap:
		return g.keyless("Queue", def, name)
	case bpfobj.PerCPUHashMap, bpfobj.PerCPUArrayMap, bpfobj.LRUPerCPUHashMap, bpfobj.PerCPUCgroupStorageMap:
		return g.keyed("PerCPUMap", def, name)
	case bpfobj.HashMap, bpfobj.LRUHashMap, bpfobj.ArrayMap, bpfobj.LPMTrieMap, bpfobj.StackTraceMap,
		bpfobj.CgroupStorageMap, bpfobj.DevMap, bpfobj.DevHashMap, bpfobj.CPUMap, bpfobj.XSKMap, bpfobj.SockMap, bpfobj.SockHashMap,
		bpfobj.ReuseportSockArrayMap, bpfobj.CgroupArrayMap:
		return g.keyed("Map", def, name)
	case bpfobj.HashOfMapsMap, bpfobj.ArrayOfMapsMap:
		return g.mapOfMaps(def, name)
	}
	// What the others hold is no data that user space reads or writes.
	return untyped, nil
}

func (g *generator) keyless(handle string, def *bpfobj.MapDef, name named) (string, error) {
	value, err := g.mapType(def.Value, def.ValueSize, name, "value")
	if err != nil {
		return "", err
	}
	return handle + "[" + value + "]", nil
}

func (g *generator) keyed(handle string, def *bpfobj.MapDef, name named) (string, error) {
	key, err := g.mapType(def.Key, def.KeySize, name, "key")
	if err != nil {
		return "", err
	}
	value, err := g.mapType(def.Value, def.ValueSize, name, "value")
	if err != nil {
		return "", err
	}
	return handle + "[" + key + ", " + value + "]", nil
}

// mapOfMaps returns the type of a map of maps. An inner map that has no types, or
// is declared by the program that puts it there, is untyped.
func (g *generator) mapOfMaps(def *bpfobj.MapDef, name named) (string, error) {
	key, err := g.mapType(def.Key, def.KeySize, name, "key")
	if err != nil {
		return "", err
	}
	inner := untyped
	if def.Inner != nil {
		typed, err := g.handle(def.Inner, named{name.goName + "Inner", name.c + "'s inner maps"})
		if err == nil {
			inner = typed
		}
	}
	return "MapOfMaps[" + key + ", skeleton." + inner + "]", nil
}

// mapType returns the Go type of a map's keys or values, which part says.
func (g *generator) mapType(t btf.Type, size uint32, name named, part string) (string, error) {
	switch {
	case t == nil && size != 0:
		return "", fmt.Errorf("the declaration gives the size of the %s and no type", part)
	case t == nil:
		return "", fmt.Errorf("the declaration gives no %s", part)
	}
	typ, err := g.types.Convert(t, name.goName+gonames.Export(part), "the "+part+" of map "+gotype.Comment(name.c))
	if err != nil {
		return "", fmt.Errorf("%s: %w", part, err)
	}
	// The kernel reads and writes as many bytes as BTF says.
	if n, err := btf.Sizeof(t); err != nil || uint64(n) != typ.Size() {
		return "", fmt.Errorf("%s: has %d bytes in C and %d in Go", part, n, typ.Size())
	}
	return typ.String(), nil
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
		goName := gonames.Export(name)
		typ, err := g.types.Convert(t, goName, "the C type "+gotype.Comment(name))
		if err != nil {
			errs = append(errs, fmt.Errorf("type %s: %w: leave it out, or change it", gotype.Comment(name), err))
			continue
		}
		if !g.types.Declares(typ) {
			errs = append(errs, fmt.Errorf("type %s: is %s in Go, which needs no declaration: leave it out", gotype.Comment(name), typ))
		}
	}
	return errs
}
