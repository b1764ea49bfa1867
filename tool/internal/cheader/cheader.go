// Package cheader writes C headers from BTF, as BPF programs include them in the
// place of the kernel's own headers: with every type where it has to be for C,
// and every member at the offset that BTF says.
package cheader

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
	return slices.Concat([]byte(prologue), g.out, []byte(epilogue)), nil
}

// generate goes through what the names stand for.
func (t *Types) generate(names []string) (*generator, error) {
	roots, kfuncs, err := t.find(names)
	if err != nil {
		return nil, err
	}
	g := newGenerator(t.ptrSize)
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
		var kfuncs []*btf.Func
		for _, name := range slices.Sorted(maps.Keys(t.kfuncs)) {
			kfuncs = append(kfuncs, t.kfuncs[name])
		}
		return t.named, kfuncs, nil
	}
	wanted := make(map[string]bool)
	for _, name := range always {
		wanted[name] = true
	}
	missing := make(map[string]bool)
	var kfuncs []*btf.Func
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		wanted[name] = true
		if f := t.kfuncs[name]; f != nil {
			kfuncs = append(kfuncs, f)
			continue
		}
		missing[name] = true
	}
	var roots []btf.Type
	for _, typ := range t.named {
		name := typ.TypeName()
		found := name != "" && wanted[name]
		delete(missing, name)
		if e, ok := typ.(*btf.Enum); ok {
			for _, v := range e.Values {
				found = found || wanted[v.Name]
				delete(missing, v.Name)
			}
		}
		if found {
			roots = append(roots, typ)
		}
	}
	if len(missing) > 0 {
		var all []string
		for name := range missing {
			all = append(all, fmt.Sprintf("%q", name))
		}
		slices.Sort(all)
		return nil, nil, fmt.Errorf("has no struct, union, enum, typedef, value of an enum or kfunc with the name %s: check how they are written, without struct, union or enum before them", strings.Join(all, ", "))
	}
	return roots, kfuncs, nil
}
