package linker

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
)

// graph are the types of all files. Types with one structure have one
// representative, which the result has.
//
// Structure is what C's rules for compatible types compare, and what a program can
// observe: kinds, names, sizes, members, and the structure of all types that a type
// refers to, round any number of cycles. Declaration tags of a type belong to it.
//
// Types form a graph whose cycles go through pointers. It is taken apart into its
// strongly connected components, those that are referred to first. A type without
// cycles is equal to another when both are encoded as the same bytes and
// refer to the same representatives. In a component with cycles types are distinguished
// by hashes that include one more step of references in each round, until a round
// distinguishes no more of them. As hashes can be equal by accident, the outcome
// is checked against the definition: if each type has the encoding of its representative,
// and refers to types whose representatives its representative refers to, then they
// are equal.
//
// A forward declaration stands for the struct or union of its name, if all files
// have one structure for that.
type graph struct {
	// types are those of all files, by their IDs in the graph. ID 0 is void. Variables,
	// functions and DATASECs only have an ID.
	types []node
	refs  []uint32
	// names are the strings that types have. Their indices are what nodes hold.
	names   []string
	indices map[string]uint32
	// canon is the representative of each type.
	canon []uint32
	// buckets are representatives by their hashes.
	buckets map[uint64][]uint32
	// alias is the type that stands for a forward declaration, by its ID.
	alias map[uint32]uint32
}

// node is a type.
type node struct {
	// typ has indices of names for offsets of strings, and zeros for the types that it
	// refers to, which are refs.
	typ  rawbtf.Type
	refs []uint32
	tags []tag
	hash uint64
	// skip is true when the type is not compared with others.
	skip bool
}

// tag is a declaration tag.
type tag struct {
	name      uint32
	component int32
}

// newGraph reads the types of the files, and gives each file its range of IDs in the
// graph.
func newGraph(objects []*object) *graph {
	count := uint32(1)
	for _, obj := range objects {
		count += obj.btf.Len() - 1
	}
	g := &graph{types: make([]node, 1, count), refs: make([]uint32, 0, 2*count), indices: make(map[string]uint32, count), names: []string{""}}
	g.types[0].skip = true
	g.indices[""] = 0
	for _, obj := range objects {
		obj.first = uint32(len(g.types)) - 1
		g.add(obj)
	}
	return g
}

func (g *graph) name(s string) uint32 {
	n, ok := g.indices[s]
	if !ok {
		n = uint32(len(g.names))
		g.names = append(g.names, s)
		g.indices[s] = n
	}
	return n
}

// graphID returns the ID in the graph of a file's type.
func (obj *object) graphID(id uint32) uint32 {
	if id == 0 {
		return 0
	}
	return obj.first + id
}

// text returns the index in names of a string of a file, by its offset.
func (g *graph) text(obj *object, off uint32) uint32 {
	if off == 0 {
		return 0
	}
	if obj.names == nil {
		_, n := obj.btf.Sizes()
		obj.names = make([]uint32, n)
	}
	if obj.names[off] == 0 {
		obj.names[off] = g.name(obj.btf.String(off))
	}
	return obj.names[off]
}

func (g *graph) add(obj *object) {
	size, _ := obj.btf.Sizes()
	memory := make([]byte, 0, size)
	for id := uint32(1); id < obj.btf.Len(); id++ {
		start := len(g.refs)
		// The types were checked when they were read.
		t, _ := obj.btf.At(id).RewriteIn(&memory,
			func(to uint32) uint32 {
				g.refs = append(g.refs, obj.graphID(to))
				return 0
			},
			func(off uint32) uint32 { return g.text(obj, off) })
		n := node{typ: t.Type, refs: g.refs[start:len(g.refs):len(g.refs)]}
		switch obj.btf.At(id).Kind() {
		case rawbtf.Var, rawbtf.Func, rawbtf.Datasec, rawbtf.DeclTag:
			n.skip = true
		}
		g.types = append(g.types, n)
	}
	for id := uint32(1); id < obj.btf.Len(); id++ {
		if obj.btf.At(id).Kind() == rawbtf.DeclTag {
			n := &g.types[obj.graphID(id)]
			to := &g.types[n.refs[0]]
			to.tags = append(to.tags, tag{n.typ.NameOffset(), n.typ.Component()})
		}
	}
	for i := range g.types[obj.first+1:] {
		n := &g.types[int(obj.first)+1+i]
		slices.SortFunc(n.tags, func(a, b tag) int {
			if a.component != b.component {
				return int(a.component) - int(b.component)
			}
			return int(a.name) - int(b.name)
		})
		n.hash = n.sum()
	}
}

func (g *graph) kind(n uint32) rawbtf.Kind {
	if n == 0 {
		return rawbtf.Void
	}
	return g.types[n].typ.Kind()
}

// mix is a step of a hash function.
func mix(h, v uint64) uint64 {
	h ^= v
	h *= 0x9e3779b97f4a7c15
	return h ^ h>>29
}

// sum is the hash of a type without what it refers to.
func (n *node) sum() uint64 {
	raw := n.typ.Raw()
	h := uint64(len(raw))
	for i := 0; i+4 <= len(raw); i += 4 {
		h = mix(h, uint64(binary.NativeEndian.Uint32(raw[i:])))
	}
	for _, t := range n.tags {
		h = mix(h, uint64(t.name)<<32|uint64(uint32(t.component)))
	}
	return h
}

// dedup finds the representatives.
func (g *graph) dedup() {
	type key struct {
		name uint32
		kind rawbtf.Kind
	}
	forward := make(map[key][]uint32)
	for i := range g.types {
		if n := uint32(i); g.kind(n) == rawbtf.Fwd {
			k := key{g.types[n].typ.NameOffset(), rawbtf.Struct}
			if g.types[n].typ.Flag() {
				k.kind = rawbtf.Union
			}
			forward[k] = append(forward[k], n)
		}
	}
	full := make(map[key][]uint32)
	for i := range g.types {
		n := uint32(i)
		if kind := g.kind(n); kind == rawbtf.Struct || kind == rawbtf.Union {
			k := key{g.types[n].typ.NameOffset(), kind}
			if forward[k] != nil && k.name != 0 {
				full[k] = append(full[k], n)
			}
		}
	}
	for {
		g.alias = make(map[uint32]uint32)
		for k, defs := range full {
			for _, n := range forward[k] {
				g.alias[n] = defs[0]
			}
		}
		g.components()
		changed := false
		for k, defs := range full {
			for _, n := range defs[1:] {
				if g.canon[n] != g.canon[defs[0]] {
					// It is not known which one is meant.
					delete(full, k)
					changed = true
					break
				}
			}
		}
		if !changed {
			break
		}
	}
	for n, to := range g.alias {
		g.canon[n] = g.canon[to]
	}
}

// ref returns the i-th type that a type refers to.
func (g *graph) ref(n uint32, i int) uint32 {
	to := g.types[n].refs[i]
	if alias, ok := g.alias[to]; ok {
		return alias
	}
	return to
}

// components finds the strongly connected components, by Tarjan's algorithm, and
// the representatives in each. The calls are on a stack of its own, as chains of
// types can be long.
func (g *graph) components() {
	count := len(g.types)
	g.canon = make([]uint32, count)
	g.buckets = make(map[uint64][]uint32, count)
	index := make([]uint32, count) // 0: not seen
	low := make([]uint32, count)
	onStack := make([]bool, count)
	var stack []uint32
	type frame struct {
		n uint32
		i int
	}
	var calls []frame
	next := uint32(1)
	enter := func(n uint32) {
		index[n], low[n] = next, next
		next++
		stack = append(stack, n)
		onStack[n] = true
		calls = append(calls, frame{n, 0})
	}
	for root := 1; root < count; root++ {
		if index[root] != 0 {
			continue
		}
		if g.types[root].skip {
			g.canon[root] = uint32(root)
			continue
		}
		enter(uint32(root))
		for len(calls) > 0 {
			f := &calls[len(calls)-1]
			n := f.n
			if f.i < len(g.types[n].refs) {
				to := g.ref(n, f.i)
				f.i++
				switch {
				case to == 0:
				case index[to] == 0:
					enter(to)
				case onStack[to]:
					low[n] = min(low[n], index[to])
				}
				continue
			}
			calls = calls[:len(calls)-1]
			if len(calls) > 0 {
				up := calls[len(calls)-1].n
				low[up] = min(low[up], low[n])
			}
			if low[n] != index[n] {
				continue
			}
			at := len(stack) - 1
			for stack[at] != n {
				at--
			}
			component := stack[at:]
			for _, m := range component {
				onStack[m] = false
			}
			g.component(component)
			stack = stack[:at]
		}
	}
}

func (g *graph) component(nodes []uint32) {
	if len(nodes) == 1 && !g.refersTo(nodes[0], nodes[0]) {
		g.single(nodes[0])
		return
	}
	g.cyclic(nodes)
}

func (g *graph) refersTo(n, to uint32) bool {
	for i := range g.types[n].refs {
		if g.ref(n, i) == to {
			return true
		}
	}
	return false
}

// same reports whether two types are written down with the same bytes.
func (g *graph) same(a, b uint32) bool {
	x, y := &g.types[a], &g.types[b]
	return x.hash == y.hash && bytes.Equal(x.typ.Raw(), y.typ.Raw()) && slices.Equal(x.tags, y.tags)
}

// single finds the representative of a type that is in no cycle.
func (g *graph) single(n uint32) {
	t := &g.types[n]
	h := t.hash
	for i := range t.refs {
		h = mix(h, uint64(g.canon[g.ref(n, i)]))
	}
	for _, c := range g.buckets[h] {
		if !g.same(n, c) {
			continue
		}
		equal := true
		for i := range t.refs {
			if g.canon[g.ref(n, i)] != g.canon[g.ref(c, i)] {
				equal = false
				break
			}
		}
		if equal {
			g.canon[n] = c
			return
		}
	}
	g.canon[n] = n
	g.buckets[h] = append(g.buckets[h], n)
}

// maxRounds bounds the rounds in which the types of a component are distinguished. It
// takes as many as there are types without names in a row, which in C are few. With
// too few of them the outcome is found to be wrong, and types stay that are equal.
const maxRounds = 100

// cyclic finds the representatives of types that refer to each other.
func (g *graph) cyclic(nodes []uint32) {
	nodes = slices.Clone(nodes)
	slices.Sort(nodes)
	inside := make(map[uint32]int, len(nodes))
	for i, n := range nodes {
		inside[n] = i
	}
	color := make([]uint64, len(nodes))
	for i, n := range nodes {
		color[i] = mix(g.types[n].hash, 1)
	}
	classes := 0
	// Each round but the last distinguishes more types than the one before.
	for range min(len(nodes)+1, maxRounds) {
		next := make([]uint64, len(nodes))
		distinct := make(map[uint64]struct{}, len(nodes))
		for i, n := range nodes {
			h := mix(color[i], 2)
			for r := range g.types[n].refs {
				to := g.ref(n, r)
				if j, ok := inside[to]; ok {
					h = mix(h, color[j])
				} else {
					h = mix(h, uint64(g.canon[to]))
				}
			}
			next[i] = h
			distinct[h] = struct{}{}
		}
		color = next
		if len(distinct) == classes {
			break
		}
		classes = len(distinct)
	}
	// The first of a color is the representative in the component, and one of an
	// earlier component, if there is one, that of all.
	first := make(map[uint64]uint32, classes)
	for i, n := range nodes {
		if _, ok := first[color[i]]; !ok {
			first[color[i]] = n
		}
	}
	earlier := func(i int, n uint32) uint32 {
		for _, c := range g.buckets[color[i]] {
			if g.same(n, c) {
				return c
			}
		}
		return 0
	}
	within := func(i int, n uint32) uint32 { return first[color[i]] }
	alone := func(i int, n uint32) uint32 { return n }
	for _, choose := range []func(int, uint32) uint32{earlier, within, alone} {
		if g.choose(nodes, inside, choose) {
			break
		}
	}
	for i, n := range nodes {
		if g.canon[n] == n {
			g.buckets[color[i]] = append(g.buckets[color[i]], n)
		}
	}
}

// choose makes what the function returns the representatives of types that refer to
// each other, unless that is wrong.
func (g *graph) choose(nodes []uint32, inside map[uint32]int, choose func(int, uint32) uint32) bool {
	for i, n := range nodes {
		c := choose(i, n)
		if c == 0 {
			return false
		}
		g.canon[n] = c
	}
	for _, n := range nodes {
		c := g.canon[n]
		if c == n {
			continue
		}
		if !g.same(n, c) {
			return false
		}
		for r := range g.types[n].refs {
			if g.canon[g.ref(n, r)] != g.canon[g.ref(c, r)] {
				return false
			}
		}
	}
	return true
}
