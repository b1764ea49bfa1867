package loader

import (
	"bytes"
	"fmt"
	"runtime"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/runtime/internal/features"
)

// ctxTag is the tag of a parameter that is the program's context, whatever its type: __arg_ctx.
// Kernels before 6.8 do not know it, and require the context struct of the program's type. As
// in libbpf, such functions get a second type for these kernels.
const ctxTag = "arg:ctx"

// contextFunc is a function in programs of one type.
type contextFunc struct {
	program  ebpf.ProgramType
	function uint32
}

// contextStructs are the structs that the kernel takes for contexts, by the type of the
// program. The other types have none of their own.
var contextStructs = map[ebpf.ProgramType]string{
	ebpf.CGroupDevice:          "bpf_cgroup_dev_ctx",
	ebpf.CGroupSKB:             "__sk_buff",
	ebpf.CGroupSock:            "bpf_sock",
	ebpf.CGroupSockAddr:        "bpf_sock_addr",
	ebpf.CGroupSockopt:         "bpf_sockopt",
	ebpf.CGroupSysctl:          "bpf_sysctl",
	ebpf.FlowDissector:         "__sk_buff",
	ebpf.Kprobe:                "bpf_user_pt_regs_t",
	ebpf.LWTIn:                 "__sk_buff",
	ebpf.LWTOut:                "__sk_buff",
	ebpf.LWTSeg6Local:          "__sk_buff",
	ebpf.LWTXmit:               "__sk_buff",
	ebpf.Netfilter:             "bpf_nf_ctx",
	ebpf.PerfEvent:             "bpf_perf_event_data",
	ebpf.RawTracepoint:         "bpf_raw_tracepoint_args",
	ebpf.RawTracepointWritable: "bpf_raw_tracepoint_args",
	ebpf.SchedACT:              "__sk_buff",
	ebpf.SchedCLS:              "__sk_buff",
	ebpf.SkLookup:              "bpf_sk_lookup",
	ebpf.SkMsg:                 "sk_msg_md",
	ebpf.SkReuseport:           "sk_reuseport_md",
	ebpf.SkSKB:                 "__sk_buff",
	ebpf.SockOps:               "bpf_sock_ops",
	ebpf.SocketFilter:          "__sk_buff",
	ebpf.XDP:                   "xdp_md",
}

// addContexts adds second types for functions with such parameters, where the kernel needs
// them, and returns the BTF with these. It sets l.contexts.
func (l *load) addContexts(raw []byte) ([]byte, error) {
	// Few objects have the tag.
	if !bytes.Contains(raw, []byte("\x00"+ctxTag+"\x00")) {
		return raw, nil
	}
	if yes, err := l.has(features.ArgCtx); yes || features.IsForbidden(err) {
		return raw, nil
	} else if err != nil {
		return raw, err
	}
	return l.cloneContexts(raw)
}

// cloneContexts is addContexts for kernels that do not know the tag.
func (l *load) cloneContexts(raw []byte) ([]byte, error) {
	types, err := rawbtf.New(raw, nil)
	if err != nil {
		return raw, fmt.Errorf("the object's BTF %w", err)
	}
	c := contextCloner{
		types: types, btf: types.Edit(),
		funcs:    make(map[contextFunc]uint32),
		done:     make(map[contextParam]bool),
		pointers: make(map[string]uint32),
	}
	for id := uint32(1); id < types.Len(); id++ {
		tag := types.At(id)
		if tag.Kind() != rawbtf.DeclTag || tag.Name() != ctxTag {
			continue
		}
		fn := tag.Elem()
		if fn.Kind() != rawbtf.Func || fn.Linkage() != rawbtf.Global || fn.Elem().Kind() != rawbtf.FuncProto {
			continue
		}
		if i := tag.Component(); i >= 0 && int(i) < fn.Elem().Vlen() {
			for _, p := range l.selected {
				c.clone(p.Type, fn, uint32(i), tag)
			}
		}
	}
	if len(c.funcs) == 0 {
		return raw, nil
	}
	l.contexts = c.funcs
	return c.btf.Bytes()
}

// useContexts makes the function info of a program refer to the second types.
func (l *load) useContexts(p *Program, funcs []image.FuncInfo) {
	if l.contexts == nil {
		return
	}
	for i := range funcs {
		if id, ok := l.contexts[contextFunc{p.Type, funcs[i].Type}]; ok {
			funcs[i].Type = id
		}
	}
}

// contextCloner makes the second types.
type contextCloner struct {
	types *rawbtf.Types
	btf   *rawbtf.Builder
	// funcs are the functions made.
	funcs map[contextFunc]uint32
	// pointers are those to structs made.
	pointers map[string]uint32
	// done are the parameters that have their type.
	done map[contextParam]bool
}

// contextParam is a parameter of a function that was made.
type contextParam struct {
	function, param uint32
}

// clone gives programs of the type a second type of the function whose parameter is a
// pointer to their context. tag is that of the parameter.
func (c *contextCloner) clone(program ebpf.ProgramType, fn rawbtf.Type, param uint32, tag rawbtf.Type) {
	name, ok := contextStructs[program]
	if !ok || !mustFix(program, c.types.At(fn.Elem().Param(int(param)))) {
		return
	}
	key := contextFunc{program, fn.ID}
	id, ok := c.funcs[key]
	if !ok {
		proto := c.btf.AddCopy(fn.Elem())
		id = c.btf.AddCopy(fn)
		c.btf.At(id).SetRef(proto)
		c.funcs[key] = id
	}
	if c.done[contextParam{id, param}] {
		return
	}
	c.done[contextParam{id, param}] = true
	pointer, ok := c.pointers[name]
	if !ok {
		target := c.btf.Add(c.btf.Intern(name), rawbtf.Struct, 0, 0)
		pointer = c.btf.Add(0, rawbtf.Ptr, 0, target)
		c.pointers[name] = pointer
	}
	second := c.btf.AddCopy(tag)
	c.btf.At(second).SetRef(id)
	proto := c.btf.At(c.btf.At(id).Ref())
	proto.SetParam(int(param), proto.ParamNameOffset(int(param)), pointer)
}

// mustFix reports whether a tagged parameter of the type needs another type, as a kernel that
// does not know the tag would not take it for the program's context. Only types that may
// stand for a context get one: any other stays as it is, for the verifier to refuse.
func mustFix(program ebpf.ProgramType, t rawbtf.Type) bool {
	t, ok := t.Skip()
	if !ok || t.Kind() != rawbtf.Ptr {
		return false
	}
	t = t.Elem()
	for n := 0; n < maxTypeDepth && t.Kind().IsModifier(); n++ {
		t = t.Elem()
	}
	if t.Kind() == rawbtf.Typedef && (program == ebpf.Kprobe || program == ebpf.PerfEvent) && t.Name() == "bpf_user_pt_regs_t" {
		return false
	}
	if t, ok = t.Skip(); !ok {
		return false
	}
	if t.Kind() == rawbtf.Void {
		return true
	}
	isStruct := t.Kind() == rawbtf.Struct
	switch program {
	case ebpf.Kprobe:
		return isStruct && t.Name() == "pt_regs"
	case ebpf.PerfEvent:
		return isStruct && t.Name() == userRegs()
	case ebpf.RawTracepoint, ebpf.RawTracepointWritable:
		return t.Kind() == rawbtf.Int && t.ByteSize() == 8
	}
	return false
}

// userRegs is the struct that bpf_user_pt_regs_t is, by the machine.
func userRegs() string {
	switch runtime.GOARCH {
	case "arm64", "s390x", "loong64":
		return "user_pt_regs"
	case "riscv64":
		return "user_regs_struct"
	}
	return "pt_regs"
}
