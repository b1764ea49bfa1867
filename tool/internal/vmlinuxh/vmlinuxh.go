// Package vmlinuxh writes C headers from BTF, as BPF programs include them in the
// place of the kernel's own headers: with every type where it has to be for C,
// and every member at the offset that BTF says.
package vmlinuxh

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/quote"
)

// What follows is bounded because a damaged file could ask for more than there
// is: deep nesting for stack, and types that are written where they are used for
// output that doubles with each of them.
const (
	maxNesting    = 5_000
	maxDeclarator = 16 << 10
	maxHeader     = 64 << 20
)

// The typedefs of UAPI headers that libbpf's headers use and do not declare.
var always = []string{
	"__u8", "__u16", "__u32", "__u64", "__s8", "__s16", "__s32", "__s64",
	"__be16", "__be32", "__wsum",
}

const prologue = `/* Written by bpfgen vmlinux from BTF. Do not edit. */

#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)
#endif
`

const epilogue = `
#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

#endif /* __VMLINUX_H__ */
`

// Header returns a C header with the types and kfuncs of the names, and what they
// need to be complete. No names stand for all of them.
func (t *Types) Header(names []string) ([]byte, error) {
	g, err := t.generate(names)
	if err != nil {
		return nil, err
	}
	return append(g.out, epilogue...), nil
}

// generate goes through what the names stand for.
func (t *Types) generate(names []string) (*generator, error) {
	roots, kfuncs, err := t.find(names)
	if err != nil {
		return nil, err
	}
	return generateOf(roots, kfuncs, t.ptrSize)
}

func generateOf(roots []btf.Type, kfuncs []*btf.Func, ptrSize uint64) (*generator, error) {
	g := newGenerator(ptrSize, len(roots))
	for _, typ := range roots {
		g.need(typ, true)
		if e, ok := typ.(*btf.Enum); ok && e.Name == "" {
			g.emitEnum(e)
		}
		if g.err != nil {
			return nil, fmt.Errorf("type %s: %w", quote.Text(typ.TypeName()), g.err)
		}
	}
	g.emitKfuncs(kfuncs)
	if g.err != nil {
		return nil, g.err
	}
	return g, nil
}

// find returns the types and kfuncs of the names, all when there are none.
func (t *Types) find(names []string) ([]btf.Type, []*btf.Func, error) {
	if len(names) == 0 {
		types, err := t.decode(t.roots())
		if err != nil {
			return nil, nil, err
		}
		kfuncs, err := t.functions(slices.Sorted(maps.Keys(t.kfuncs)))
		return types, kfuncs, err
	}
	wanted := make(map[string]bool)
	for _, name := range always {
		wanted[name] = true
	}
	missing := make(map[string]bool)
	var functions []string
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		wanted[name] = true
		if t.kfuncs[name] != 0 {
			functions = append(functions, name)
			continue
		}
		missing[name] = true
	}
	ids := t.search(wanted, missing)
	if len(missing) > 0 {
		var all []string
		for name := range missing {
			all = append(all, fmt.Sprintf("%q", name))
		}
		slices.Sort(all)
		return nil, nil, fmt.Errorf("has no struct, union, enum, typedef, value of an enum or kfunc with the name %s: check how they are written, without struct, union or enum before them", strings.Join(all, ", "))
	}
	for _, name := range functions {
		ids = append(ids, t.kfuncs[name])
	}
	types, err := t.decodePart(ids)
	if err != nil {
		return nil, nil, err
	}
	n := len(ids) - len(functions)
	return types[:n], asFunctions(types[n:]), nil
}

// functions returns the kfuncs of the names.
func (t *Types) functions(names []string) ([]*btf.Func, error) {
	var ids []uint32
	for _, name := range names {
		ids = append(ids, t.kfuncs[name])
	}
	types, err := t.decode(ids)
	if err != nil {
		return nil, err
	}
	return asFunctions(types), nil
}

func asFunctions(types []btf.Type) []*btf.Func {
	var functions []*btf.Func
	for _, typ := range types {
		if f, ok := typ.(*btf.Func); ok {
			functions = append(functions, f)
		}
	}
	return functions
}
