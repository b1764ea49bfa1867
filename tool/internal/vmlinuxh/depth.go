package vmlinuxh

import (
	"fmt"
	"slices"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
)

// maxDepth bounds how deep the btf package may call itself when it decodes a type: each call
// takes some 2 KB of stack, and Go ends a process, without a panic that could be caught, at
// 512 MB. A kernel has more types than that, but they do not form one chain.
const maxDepth = 100_000

// depthCheck finds out whether there is stack enough to decode types. It goes where the btf
// package will go, with a stack of its own.
type depthCheck struct {
	types *rawbtf.Types
	// base is that of the base's types, which were decoded before.
	base *depthCheck
	// visited are the types that are decoded, by their IDs from the first one.
	visited []bool
}

func newDepthCheck(types *rawbtf.Types, base *depthCheck) *depthCheck {
	return &depthCheck{types, base, make([]bool, types.Len()-types.First())}
}

// visit reports whether a type is to be decoded, and has not been.
func (d *depthCheck) visit(id uint32) bool {
	for ; d != nil; d = d.base {
		if id >= d.types.First() && id < d.types.Len() {
			seen := d.visited[id-d.types.First()]
			d.visited[id-d.types.First()] = true
			return !seen
		}
	}
	return false
}

// check fails when types are too deep to be decoded in the order given.
func (d *depthCheck) check(ids []uint32) error {
	// todo are the types to be visited, the next one last. Those above the last of starts are
	// what the type that is being decoded refers to.
	var todo []uint32
	var starts []int
	for _, id := range ids {
		todo, starts = append(todo[:0], id), append(starts[:0], 0)
		for len(starts) > 0 {
			if len(todo) == starts[len(starts)-1] {
				starts = starts[:len(starts)-1]
				continue
			}
			next := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if !d.visit(next) {
				continue
			}
			if len(starts) == maxDepth {
				return fmt.Errorf("has types that refer to each other in a chain of more than %d, which no compiler makes", maxDepth)
			}
			starts = append(starts, len(todo))
			todo = d.push(todo, d.types.At(next))
		}
	}
	return nil
}

// push appends the types that one refers to, so that the first to be decoded is last.
func (d *depthCheck) push(todo []uint32, t rawbtf.Type) []uint32 {
	start := len(todo)
	todo = t.References(todo)
	refs := todo[start:]
	switch t.Kind() {
	case rawbtf.Array:
		// Of the index first, then of the elements.
	case rawbtf.FuncProto:
		// Of the parameters first, then of the result, which stands first.
		slices.Reverse(refs[1:])
	default:
		slices.Reverse(refs)
	}
	return todo
}
