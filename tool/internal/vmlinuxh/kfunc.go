package vmlinuxh

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/quote"
)

// The kernel's build tags the functions that programs may call, and those of them
// that leave the caller's registers alone.
const (
	kfuncTag    = "bpf_kfunc"
	fastcallTag = "bpf_fastcall"
)

// A program that declares kfuncs itself, in another way, turns these off with
// BPF_NO_KFUNC_PROTOTYPES. The attribute is known to clang 20 and later.
const kfuncsPrologue = `
#ifndef BPF_NO_KFUNC_PROTOTYPES
#ifndef __bpf_fastcall
#if __has_attribute(bpf_fastcall)
#define __bpf_fastcall __attribute__((bpf_fastcall))
#else
#define __bpf_fastcall
#endif
#endif
`

// emitKfuncs writes prototypes of kfuncs, weak ones: a program may ask whether the
// kernel that it runs on has a kfunc.
func (g *generator) emitKfuncs(kfuncs []*btf.Func) {
	var prototypes []*btf.Func
	for _, f := range kfuncs {
		proto, ok := f.Type.(*btf.FuncProto)
		name := identifier(f.Name)
		// A function has no second name: one that C cannot call, or that a type or a
		// value has already, cannot be declared.
		if !ok || name != f.Name || isReserved(name) || g.idents[name] {
			continue
		}
		g.need(proto, false)
		if g.err != nil {
			g.err = fmt.Errorf("kfunc %s: %w", quote.Text(f.Name), g.err)
			return
		}
		prototypes = append(prototypes, f)
	}
	// What the prototypes need may have taken a name since.
	prototypes = slices.DeleteFunc(prototypes, func(f *btf.Func) bool { return g.idents[f.Name] })
	if len(prototypes) == 0 {
		return
	}
	g.text(kfuncsPrologue)
	for _, f := range prototypes {
		g.emitKfunc(f)
		if g.err != nil {
			g.err = fmt.Errorf("kfunc %s: %w", quote.Text(f.Name), g.err)
			return
		}
		g.written = append(g.written, f)
	}
	g.text("#endif\n")
}

func (g *generator) emitKfunc(f *btf.Func) {
	proto := f.Type.(*btf.FuncProto)
	g.text("extern ")
	if slices.Contains(f.Tags, fastcallTag) {
		g.text("__bpf_fastcall ")
	}
	g.declaration(proto.Return, f.Name+g.namedParams(proto), 0)
	g.text(` __attribute__((weak, section(".ksyms")));` + "\n")
}

// namedParams returns parameters with their names, as far as C allows these:
// prototypes are there to be read.
func (g *generator) namedParams(f *btf.FuncProto) string {
	var params []string
	length := 0
	for i, p := range f.Params {
		if _, ok := p.Type.(*btf.Void); ok {
			if i > 0 {
				params = append(params, "...")
			}
			break
		}
		name := identifier(p.Name)
		if name != p.Name || isReserved(name) || g.idents[name] {
			name = ""
		}
		params = append(params, g.param(p.Type, name))
		if length += len(params[i]); length > maxDeclarator {
			g.fail(errTooLong)
			return ""
		}
	}
	if len(params) == 0 {
		return "(void)"
	}
	return "(" + strings.Join(params, ", ") + ")"
}
