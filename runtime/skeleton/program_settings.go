package skeleton

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/runtime/internal/attach"
	"github.com/rules-bpf/rules_bpf/runtime/internal/loader"
)

// nativeOrder is the machine's byte order, in the form that package asm takes.
var nativeOrder = func() binary.ByteOrder {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return binary.LittleEndian
	}
	return binary.BigEndian
}()

// The methods of this file read and change the definition that Load loads a program from,
// as those of map_settings.go do for maps, and fail as these do.

// set makes a setting of the program.
func (p *BaseProgram) set(setting string, change func(*loader.Program) error) error {
	return p.owner.set(setting+" of program "+p.name, func() error { return change(p.def) })
}

// Section returns the argument of SEC() (bpf_program__section_name).
func (p *BaseProgram) Section() string { return p.section }

// Type returns the type of the program (bpf_program__type).
func (p *BaseProgram) Type() ebpf.ProgramType { return p.def.Type }

// AttachType returns what the program attaches to, which is passed to the kernel at load
// (bpf_program__expected_attach_type).
func (p *BaseProgram) AttachType() ebpf.AttachType { return p.def.AttachType }

// Target returns the function, the tracepoint or the hook that the program is for, empty
// when neither SEC() nor SetTarget has one.
func (p *BaseProgram) Target() string { return p.def.AttachTo }

// Flags returns the flags of program load, BPF_F_* of linux/bpf.h (bpf_program__flags).
func (p *BaseProgram) Flags() uint32 { return p.def.Flags }

// Ifindex returns the network device that the program is loaded for, 0 for none.
func (p *BaseProgram) Ifindex() int { return int(p.def.Ifindex) }

// LogLevel returns what SetLogLevel has set (bpf_program__log_level), 0 where that of
// [LoadOptions] counts.
func (p *BaseProgram) LogLevel() ebpf.LogLevel { return ebpf.LogLevel(p.def.LogLevel) }

// LogSize returns what SetLogSize has set, 0 where that of [LoadOptions] counts.
func (p *BaseProgram) LogSize() uint32 { return p.def.LogSize }

// Autoload reports whether Load loads the program, and after it whether it has
// (bpf_program__autoload). It is true unless the section's name starts with "?" or it was
// set. A struct_ops program is loaded when a table that Load makes a map of has it.
func (p *BaseProgram) Autoload() bool {
	p.owner.mu.Lock()
	defer p.owner.mu.Unlock()
	return p.autoload()
}

func (p *BaseProgram) autoload() bool {
	switch {
	case p.def.Type != ebpf.StructOps:
		return p.def.Autoload
	case p.owner.state >= loaded:
		return p.Program() != nil
	}
	return slices.ContainsFunc(p.owner.tablesWith(p), func(m *StructOpsMap) bool { return m.ops.Autocreate })
}

// SetAutoload sets whether Load loads the program (bpf_program__set_autoload). As with
// libbpf, it does nothing for a struct_ops program, for which the tables decide: set the
// members that have it to nil, or call SetAutocreate(false) for their maps.
func (p *BaseProgram) SetAutoload(autoload bool) error {
	return p.set("autoload", func(def *loader.Program) error {
		def.Autoload = autoload
		return nil
	})
}

// SetType sets the type of the program and what it is to be attached to, in place of what SEC()
// says (bpf_program__set_type and bpf_program__set_expected_attach_type). A program whose
// section is one of the user's own, which no loader knows, needs it before Load; attach is
// [ebpf.AttachNone] for types that have no attach types.
// A type that is not that of the section makes Attach leave the program alone, and clears
// what else the section has: that it may sleep, and its target. Types whose target is
// passed to the kernel at load, such as [ebpf.Tracing], take it from SetTarget.
func (p *BaseProgram) SetType(typ ebpf.ProgramType, attach ebpf.AttachType) error {
	return p.set("type", func(def *loader.Program) error {
		if typ == ebpf.UnspecifiedProgram {
			return errors.New("the type is unspecified: give one of the program types of package ebpf")
		}
		if typ != def.Type {
			def.Type, def.Flags, def.AttachTo = typ, 0, ""
			p.retyped = true
		}
		def.AttachType = attach
		return nil
	})
}

// SetAttachType sets what the program is to be attached to, which is passed to the kernel at
// load, and leaves its type (bpf_program__set_expected_attach_type).
func (p *BaseProgram) SetAttachType(attach ebpf.AttachType) error {
	return p.set("attach type", func(def *loader.Program) error {
		def.AttachType = attach
		return nil
	})
}

// SetTarget sets what the program attaches to, in place of the target in SEC()
// (bpf_program__set_attach_target): the function of the loaded program prog, or, when prog is
// nil, the function, the tracepoint or the hook of the kernel. An empty function leaves that of SEC()
// as it is. SEC("freplace") and programs that trace another BPF program need it. It is for
// programs whose target is passed to the kernel at load; the others have methods that
// attach them to one.
//
// prog must stay open until Load returns. The program is then attached by Attach like all
// others.
func (p *BaseProgram) SetTarget(prog *ebpf.Program, function string) error {
	return p.setTarget(function, func(def *loader.Program) error {
		def.AttachTarget, def.Target = prog, nil
		return nil
	})
}

// SetTargetProgram is SetTarget for a function of a program of the same skeleton, which
// Load loads before this one.
func (p *BaseProgram) SetTargetProgram(target *BaseProgram, function string) error {
	return p.setTarget(function, func(def *loader.Program) error {
		switch {
		case target == nil:
			return errors.New("the target is nil")
		case target.owner != p.owner:
			return fmt.Errorf("program %s is of another skeleton: give what its method Program returns to SetTarget", target.name)
		case target == p:
			return errors.New("the target is the program itself")
		}
		def.AttachTarget, def.Target = nil, target.def
		return nil
	})
}

func (p *BaseProgram) setTarget(function string, change func(*loader.Program) error) error {
	return p.set("target", func(def *loader.Program) error {
		form, ok := secdef.FindType(def.Type, def.AttachType)
		if !ok || !form.Is(secdef.AttachBTF) {
			return fmt.Errorf("programs of type %v have no target at load: attach it with a method of its handle", def.Type)
		}
		if err := change(def); err != nil {
			return err
		}
		if function != "" {
			def.AttachTo = function
		}
		return nil
	})
}

// SetFlags sets the flags of program load, BPF_F_* of linux/bpf.h, all of them
// (bpf_program__set_flags).
func (p *BaseProgram) SetFlags(flags uint32) error {
	return p.set("flags", func(def *loader.Program) error {
		def.Flags = flags
		return nil
	})
}

// SetIfindex makes Load load the program for a network device: one that runs it itself, or one
// whose metadata the program reads (bpf_program__set_ifindex). 0 is none.
func (p *BaseProgram) SetIfindex(ifindex int) error {
	return p.set("ifindex", func(def *loader.Program) error {
		if err := attach.CheckIfindex(ifindex); err != nil {
			return err
		}
		def.Ifindex = uint32(ifindex)
		return nil
	})
}

// SetLogLevel sets how much the verifier logs about the program, in place of the level
// in [LoadOptions], which is for all (bpf_program__set_log_level). The log is in
// [ebpf.Program.VerifierLog] of [BaseProgram.Program], and in a [*VerifierError].
func (p *BaseProgram) SetLogLevel(level ebpf.LogLevel) error {
	return p.set("log level", func(def *loader.Program) error {
		if level&^(ebpf.LogLevelBranch|ebpf.LogLevelInstruction|ebpf.LogLevelStats) != 0 {
			return fmt.Errorf("the kernel has no log level %d: give a sum of those of package ebpf", level)
		}
		def.LogLevel = uint32(level)
		return nil
	})
}

// SetLogSize sets how many bytes the buffer for the verifier's log has at first, in place
// of the size in [LoadOptions], which is for all. It stands for libbpf's bpf_program__set_log_buf: the
// buffer is Load's own, and grows until the log fits. The kernel takes 1 GiB at most.
func (p *BaseProgram) SetLogSize(bytes uint32) error {
	return p.set("log size", func(def *loader.Program) error {
		if bytes > loader.MaxLogSize {
			return fmt.Errorf("the kernel takes no buffer of %d bytes: give %d or fewer", bytes, uint32(loader.MaxLogSize))
		}
		def.LogSize = bytes
		return nil
	})
}

// Instructions returns the code of the program's function, as it is in the object: without
// functions that it calls, and without what Load puts into it (bpf_program__insns).
func (p *BaseProgram) Instructions() (asm.Instructions, error) {
	raw := p.def.Instructions
	if raw == nil {
		img := p.owner.loader.Image
		f := img.Functions[img.Programs[slices.Index(p.owner.loader.Programs, p.def)].Function]
		raw = img.Code[asm.InstructionSize*int(f.First):][:asm.InstructionSize*int(f.Count)]
	}
	insns, err := asm.AppendInstructions(nil, bytes.NewReader(raw), nativeOrder, "")
	return insns, p.fail(err)
}

// SetInstructions replaces the code of the program, with all that it refers to (libbpf's
// bpf_program__set_insns): the kernel gets the instructions as they are. They refer to maps by
// descriptors of maps that exist, and functions that they call follow the program's own. Type,
// target and flags of the program stay. nil takes the call back.
func (p *BaseProgram) SetInstructions(insns asm.Instructions) error {
	return p.set("instructions", func(def *loader.Program) error {
		if insns == nil {
			def.Instructions = nil
			return nil
		}
		var raw bytes.Buffer
		if err := insns.Marshal(&raw, nativeOrder); err != nil {
			return err
		}
		if err := checkCasts(insns, raw.Bytes()); err != nil {
			return err
		}
		if raw.Len() == 0 {
			return errors.New("a program has one instruction at least")
		}
		def.Instructions = raw.Bytes()
		return nil
	})
}

// addrSpaceCast is the offset that makes a move of a register a conversion of a
// pointer into an arena (BPF_ADDR_SPACE_CAST).
const addrSpaceCast = 1

// checkCasts returns an error when raw is not what the instructions say: cilium/ebpf v0.22
// writes a conversion of a pointer as a plain move, and the verifier rejects the access that
// follows.
func checkCasts(insns asm.Instructions, raw []byte) error {
	for it := insns.Iterate(); it.Next(); {
		at := asm.InstructionSize * int(it.Offset)
		if it.Ins.OpCode == asm.Mov.Op(asm.RegSource) && it.Ins.Offset == addrSpaceCast && nativeOrder.Uint16(raw[at+2:]) != addrSpaceCast {
			return fmt.Errorf("instruction %d converts a pointer into an arena, which this version of github.com/cilium/ebpf does not write", it.Index)
		}
	}
	return nil
}

// Autoattach reports whether Attach attaches the program (bpf_program__autoattach). It is
// true by default.
func (p *BaseProgram) Autoattach() bool { return p.autoattach }

// SetAutoattach sets whether Attach attaches the program (bpf_program__set_autoattach),
// before Load or after it. It fails with [ErrClosed] after Close.
func (p *BaseProgram) SetAutoattach(autoattach bool) error {
	return p.owner.setUntil(closed, "autoattach of program "+p.name, func() error {
		p.autoattach = autoattach
		return nil
	})
}

// CloneOptions are how a clone differs from its program. Fields that are zero leave what the
// program has.
type CloneOptions struct {
	// Target and Function are as those of [BaseProgram.SetTarget].
	Target   *ebpf.Program
	Function string
	// AttachType is what it is to be attached to, which is passed to the kernel at load.
	AttachType ebpf.AttachType
	// Flags are BPF_F_* of program load, all of them.
	Flags uint32
	// Ifindex is the network device that it is loaded for.
	Ifindex int
	// LogLevel is how much the verifier logs in [ebpf.Program.VerifierLog].
	LogLevel ebpf.LogLevel
}

// Clone loads the program once more, between Prepare and Load, and returns the copy
// (bpf_program__clone). The copy is the caller's, to attach with package link and to close;
// Load loads the program all the same. With a target of its own, one program in C can be on
// several functions; with a log level, the copy shows what the verifier makes of it. The
// program must be one that Load loads. Options may be nil.
//
// It fails with [ErrNotLoaded] before Prepare, with [ErrLoaded] after Load, and as Load does.
func (p *BaseProgram) Clone(o *CloneOptions) (*ebpf.Program, error) {
	p.owner.mu.Lock()
	defer p.owner.mu.Unlock()
	clone, err := p.clone(valueOf(o))
	return clone, p.fail(err)
}

func (p *BaseProgram) clone(o CloneOptions) (*ebpf.Program, error) {
	switch p.owner.state {
	case opened:
		return nil, fmt.Errorf("%w, or Prepare, after which programs are cloned", ErrNotLoaded)
	case loaded:
		return nil, fmt.Errorf("%w: clone it between Prepare and Load", ErrLoaded)
	case closed:
		return nil, ErrClosed
	}
	if err := attach.CheckIfindex(o.Ifindex); err != nil {
		return nil, err
	}
	clone, err := p.owner.loader.Clone(p.def, func(def *loader.Program) {
		if o.Target != nil || o.Function != "" {
			def.AttachTarget, def.Target = o.Target, nil
		}
		if o.Function != "" {
			def.AttachTo = o.Function
		}
		if o.AttachType != ebpf.AttachNone {
			def.AttachType = o.AttachType
		}
		if o.Flags != 0 {
			def.Flags = o.Flags
		}
		if o.Ifindex != 0 {
			def.Ifindex = uint32(o.Ifindex)
		}
		if o.LogLevel != 0 {
			def.LogLevel = uint32(o.LogLevel)
		}
	})
	if err != nil {
		return nil, p.owner.explainLoad(err)
	}
	return clone, nil
}
