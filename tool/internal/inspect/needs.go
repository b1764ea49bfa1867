package inspect

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/internal/subskel"
	"github.com/rules-bpf/rules_bpf/tool/internal/kernelversion"
)

// Need is something that a kernel must have.
type Need struct {
	// What is the thing: a form of SEC(), a map type, an instruction, a helper.
	What string `json:"what"`
	// Since is the first version of the kernel that has it, and unknown where no rule
	// says.
	Since string `json:"since"`
	// Rule is what says so.
	Rule string `json:"rule"`
}

const unknown = "unknown"

// needs collects what the object needs.
func (r *reader) needs() {
	n := &needs{seen: make(map[string]bool)}
	var types []ebpf.ProgramType
	for _, p := range r.img.Programs {
		form, _, ok := secdef.Find(p.Section)
		if !ok {
			n.add("programs of SEC(\""+p.Section+"\")", unknown, "no form of SEC() has the name")
			continue
		}
		types = append(types, ebpf.ProgramType(form.Type))
		n.add("SEC(\""+form.Name()+"\")", cmp.Or(form.Since, unknown), "forms of SEC() of rules_bpf")
	}
	for _, m := range r.img.Maps {
		n.uapi(kernelversion.MapType, int(m.Type), subskel.MapTypeName(ebpf.MapType(m.Type)))
		for bit := range 32 {
			if m.Flags&(1<<bit) != 0 {
				n.uapi(kernelversion.MapFlag, bit, fmt.Sprintf("flag %#x of maps", uint32(1)<<bit))
			}
		}
		if m.Kind.IsSection() || m.Kind == image.KconfigMap {
			n.add("global variables", "5.2", "BPF_PSEUDO_MAP_VALUE")
		}
	}
	if len(r.img.StructOps) > 0 {
		n.uapi(kernelversion.MapType, int(ebpf.StructOpsMap), "")
	}
	for _, s := range r.img.StructOps {
		if strings.HasSuffix(s.Section, ".struct_ops.link") {
			n.add("links of struct_ops maps", "6.4", "section .struct_ops.link: BPF_F_LINK")
		}
	}
	for _, e := range r.img.Externs {
		// What is weak the kernel need not have.
		if e.Weak {
			continue
		}
		switch e.Kind {
		case image.Kfunc:
			n.add("kfunc "+e.Name, unknown, "no header lists kfuncs: ask a kernel's BTF")
		case image.KsymVariable:
			n.add("variables of the kernel (__ksym with a type)", "5.10", "BPF_PSEUDO_BTF_ID of variables")
		}
	}
	const typeIDLocal = 6 // BPF_CORE_TYPE_ID_LOCAL, which is of the object's own types.
	for _, c := range image.All(r.img.CORE) {
		if c.Kind != typeIDLocal {
			n.add("CO-RE", "5.4", "/sys/kernel/btf/vmlinux, or LoadOptions.KernelTypes")
		}
	}
	r.codeNeeds(n)
	r.report.Needs = n.list
	for _, need := range n.list {
		if need.Since == unknown {
			r.report.Unknown = true
		} else if r.report.Kernel == "" || compareVersions(need.Since, r.report.Kernel) > 0 {
			r.report.Kernel = need.Since
		}
	}
	slices.SortStableFunc(r.report.Needs, func(a, b Need) int {
		return cmp.Or(compareVersions(b.Since, a.Since), cmp.Compare(a.What, b.What))
	})
	r.report.Capabilities = capabilities(types)
}

type needs struct {
	list []Need
	seen map[string]bool
}

func (n *needs) add(what, since, rule string) {
	if !n.seen[what] {
		n.seen[what] = true
		n.list = append(n.list, Need{what, since, rule})
	}
}

// uapi adds what the kernel's headers say about a number; name is used where they say
// nothing.
func (n *needs) uapi(kind kernelversion.Kind, number int, name string) {
	if fact, ok := kernelversion.Find(kind, number); ok {
		n.add(fact.Name, fact.Since, fact.Rule)
	} else {
		n.add(name, unknown, kernelversion.Missing())
	}
}

// helper adds a helper that is called. The table does not have which types of programs may
// call it, which is more of them with time.
func (n *needs) helper(number int32) {
	// The loader replaces four of them on older kernels, as libbpf does.
	old := map[int32]int{112: 4, 113: 4, 114: 45, 115: 45}
	if o := old[number]; o != 0 {
		if fact, ok := kernelversion.Find(kernelversion.Helper, o); ok {
			n.add(helperName(number), fact.Since, fact.Name+" stands for it before 5.5")
			return
		}
	}
	n.uapi(kernelversion.Helper, int(number), fmt.Sprintf("helper %d", number))
}

// compareVersions compares "5.10" and "5.9" as numbers. What is unknown is the greatest.
func compareVersions(a, b string) int {
	key := func(version string) int {
		if version == unknown {
			return 1 << 30
		}
		major, minor, _ := strings.Cut(version, ".")
		x, _ := strconv.Atoi(major)
		y, _ := strconv.Atoi(minor)
		return x<<16 | y
	}
	return cmp.Compare(key(a), key(b))
}

// loadAcquire is BPF_LOAD_ACQ, the first of the operations in an atomic instruction's imm
// that are no read-modify-write.
const loadAcquire = 0x100

// codeNeeds collects what instructions need.
func (r *reader) codeNeeds(n *needs) {
	related := make(map[int]bool)
	for _, rel := range image.All(r.img.Relocations) {
		related[int(rel.Instruction)] = true
		switch rel.Kind {
		case image.Call:
			n.add("calls between functions", "4.16", "BPF_PSEUDO_CALL")
		case image.FuncAddress:
			n.add("callbacks", "5.13", "BPF_PSEUDO_FUNC")
		case image.ExternCall:
			if !r.img.Externs[rel.Target].Weak {
				n.add("calls of kfuncs", "5.13", "BPF_PSEUDO_KFUNC_CALL")
			}
		case image.JumpTable:
			n.add("jump tables", unknown, "indirect jumps are in no table")
		}
	}
	const rule = "instruction set of the kernel's instruction-set document"
	r.instructions(func(i int, raw []byte) {
		op := asm.OpCode(raw[0])
		src := raw[1] >> 4
		if r.report.ByteOrder == "big-endian" {
			src = raw[1] & 0xf
		}
		offset := int16(r.img.Order.Uint16(raw[2:]))
		imm := int32(r.img.Order.Uint32(raw[4:]))
		switch op.Class() {
		case asm.Jump32Class, asm.JumpClass:
			jumpNeeds(n, op, src, offset, imm, related[i])
		case asm.StXClass:
			if byte(op)&0xe0 == byte(asm.AtomicMode) && imm != 0 {
				if imm < loadAcquire {
					n.add("atomic operations other than an addition (-mcpu=v3)", "5.12", rule)
				} else {
					n.add("atomic loads and stores", "6.15", rule)
				}
			}
		case asm.ALUClass, asm.ALU64Class:
			aluNeeds(n, op, offset)
		case asm.LdXClass:
			if byte(op)&0xe0 == byte(asm.MemSXMode) {
				n.add("sign extension (-mcpu=v4)", "6.6", rule)
			}
		}
	})
}

// jumpNeeds is codeNeeds for a jump or a call. related says that a relocation gives the
// target.
func jumpNeeds(n *needs, op asm.OpCode, src byte, offset int16, imm int32, related bool) {
	const rule = "instruction set of the kernel's instruction-set document"
	const mayGoto = 0xe0
	switch {
	case byte(op)&0xf0 == mayGoto:
		n.add("may_goto", "6.9", rule)
	case op.JumpOp() == asm.Call:
		if src == 0 && !related {
			n.helper(imm)
		}
	case op.JumpOp() == asm.Exit:
	case op.Class() == asm.Jump32Class && op.JumpOp() == asm.Ja:
		n.add("long jumps (-mcpu=v4)", "6.6", rule)
	default:
		if offset < 0 {
			n.add("loops", "5.3", "bounded loops of the verifier")
		}
		switch op.JumpOp() {
		case asm.JLT, asm.JLE, asm.JSLT, asm.JSLE:
			n.add("jumps if less (-mcpu=v2)", "4.14", rule)
		}
		if op.Class() == asm.Jump32Class {
			n.add("32-bit jumps (-mcpu=v3)", "5.1", rule)
		}
	}
}

func aluNeeds(n *needs, op asm.OpCode, offset int16) {
	const rule = "instruction set of the kernel's instruction-set document"
	switch byte(op) & 0xf0 {
	case 0xb0: // MOV
		switch {
		case offset == 1 && op.Class() == asm.ALU64Class:
			n.add("addr_space_cast", "6.9", rule)
		case offset != 0:
			n.add("sign extension (-mcpu=v4)", "6.6", rule)
		}
	case 0x30, 0x90: // DIV, MOD
		if offset != 0 {
			n.add("signed division (-mcpu=v4)", "6.6", rule)
		}
	case 0xd0: // END
		if op.Class() == asm.ALU64Class {
			n.add("unconditional byte swap (-mcpu=v4)", "6.6", rule)
		}
	}
}

// helperName returns the C name of a helper.
func helperName(number int32) string {
	fact, _ := kernelversion.Find(kernelversion.Helper, int(number))
	return fact.Name
}

// capabilities are what the kernel requires to load programs of these types, by the rules of
// bpf_prog_load (kernel/bpf/syscall.c) from 5.8 on.
func capabilities(types []ebpf.ProgramType) []string {
	caps := []string{"CAP_BPF"}
	add := func(name string) {
		if !slices.Contains(caps, name) {
			caps = append(caps, name)
		}
	}
	for _, t := range types {
		switch t {
		case ebpf.SchedCLS, ebpf.SchedACT, ebpf.XDP, ebpf.LWTIn, ebpf.LWTOut, ebpf.LWTXmit, ebpf.LWTSeg6Local, ebpf.SkSKB,
			ebpf.SkMsg, ebpf.FlowDissector, ebpf.CGroupDevice, ebpf.CGroupSock, ebpf.CGroupSockAddr, ebpf.CGroupSockopt,
			ebpf.CGroupSysctl, ebpf.SockOps, ebpf.Netfilter:
			add("CAP_NET_ADMIN")
		case ebpf.Kprobe, ebpf.TracePoint, ebpf.PerfEvent, ebpf.RawTracepoint, ebpf.RawTracepointWritable, ebpf.Tracing,
			ebpf.LSM, ebpf.StructOps:
			add("CAP_PERFMON")
		case ebpf.Extension:
			add("CAP_NET_ADMIN")
			add("CAP_PERFMON")
		}
	}
	return caps
}
