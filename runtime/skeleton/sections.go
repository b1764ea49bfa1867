package skeleton

import (
	"errors"
	"strings"

	"github.com/cilium/ebpf"
)

// flagSleepable is BPF_F_SLEEPABLE of linux/bpf.h.
const flagSleepable = 1 << 4

// newerSections are kinds of sections that libbpf has and the loader does not
// know yet.
var newerSections = map[string]struct {
	typ    ebpf.ProgramType
	attach ebpf.AttachType
	flags  uint32
	// hasBTF says that the kernel is told the target when it loads the program.
	hasBTF bool
}{
	"tracepoint.s":     {ebpf.TracePoint, ebpf.AttachNone, flagSleepable, false},
	"tp.s":             {ebpf.TracePoint, ebpf.AttachNone, flagSleepable, false},
	"raw_tracepoint.s": {ebpf.RawTracepoint, ebpf.AttachNone, flagSleepable, false},
	"raw_tp.s":         {ebpf.RawTracepoint, ebpf.AttachNone, flagSleepable, false},
	"tp_btf.s":         {ebpf.Tracing, ebpf.AttachTraceRawTp, flagSleepable, true},
}

// completeSpec gives the program the type that its section says, where the
// loader does not.
func completeSpec(spec *ebpf.ProgramSpec) {
	if spec.Type != ebpf.UnspecifiedProgram {
		return
	}
	kind, target, _ := strings.Cut(strings.TrimPrefix(spec.SectionName, "?"), "/")
	section, ok := newerSections[kind]
	if !ok {
		return
	}
	spec.Type, spec.AttachType = section.typ, section.attach
	spec.Flags |= section.flags
	if section.hasBTF {
		spec.AttachTo = target
	}
}

// checkTarget says what is missing of the target that the kernel wants to know
// when it loads a program.
func checkTarget(spec *ebpf.ProgramSpec) error {
	switch {
	case spec.Type == ebpf.Extension && spec.AttachTarget == nil:
		return errors.New("replaces a function of another program: call SetTarget before Load, or SetAutoload(false)")
	case spec.Type == ebpf.Extension && spec.AttachTo == "",
		spec.Type == ebpf.Tracing && spec.AttachTo == "",
		spec.Type == ebpf.LSM && spec.AttachTo == "":
		return errors.New("SEC() names no target: set it before Load with SetTarget or Spec().AttachTo, or call SetAutoload(false)")
	}
	return nil
}
