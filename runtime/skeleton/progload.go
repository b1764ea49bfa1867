package skeleton

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// For two kinds of programs, SEC("lsm_cgroup/<hook>") and SEC("fsession/<func>"), the
// loader (cilium/ebpf v0.22) does not look up the target, without which the kernel
// takes no such program. So these are loaded here, by the system call, when the maps
// and the other programs are there, and otherwise as the loader does it.

// attachFSession is BPF_TRACE_FSESSION of linux/bpf.h, which the loader knows only
// by its section.
const attachFSession = ebpf.AttachType(58)

// lacksTarget says whether the loader leaves the program without its target.
func lacksTarget(spec *ebpf.ProgramSpec) bool {
	return spec.Type == ebpf.LSM && spec.AttachType == ebpf.AttachLSMCgroup ||
		spec.Type == ebpf.Tracing && spec.AttachType == attachFSession
}

// ownLoad is the part of a load that the loader is not asked for.
type ownLoad struct {
	programs map[string]*ebpf.ProgramSpec
	elements []programElement
}

// programElement is an element of a program array that the object initialises with
// one of the programs.
type programElement struct {
	array   string
	key     any
	program string
}

// takeOwn takes the programs that lack their target out of spec, and what refers to
// them. It leaves the maps that spec has as they are, and replaces them.
func takeOwn(spec *ebpf.CollectionSpec) *ownLoad {
	l := &ownLoad{programs: make(map[string]*ebpf.ProgramSpec)}
	for name, p := range spec.Programs {
		if lacksTarget(p) {
			l.programs[name] = p
			delete(spec.Programs, name)
		}
	}
	if len(l.programs) == 0 {
		return l
	}
	for name, m := range spec.Maps {
		if m.Type != ebpf.ProgramArray {
			continue
		}
		var others []ebpf.MapKV
		for _, kv := range m.Contents {
			program, ok := kv.Value.(string)
			if ok && l.programs[program] != nil {
				l.elements = append(l.elements, programElement{name, kv.Key, program})
			} else {
				others = append(others, kv)
			}
		}
		if len(others) < len(m.Contents) {
			m = m.Copy()
			m.Contents = others
			spec.Maps[name] = m
		}
	}
	return l
}

// loadOwn adds the programs to coll, which has everything else. On error coll may have
// some of them.
func (o *Object) loadOwn(l *ownLoad, coll *ebpf.Collection, opts ebpf.CollectionOptions) error {
	for _, p := range o.progs {
		spec := l.programs[p.name]
		if spec == nil {
			continue
		}
		prog, err := o.loadProgram(spec, coll.Maps, opts)
		// One inside another error is about the program's BTF, not its instructions.
		if verr, ok := err.(*ebpf.VerifierError); ok {
			return p.rejected(verr)
		}
		if err != nil {
			return fmt.Errorf("program %s, SEC(%q): %w", p.name, spec.SectionName, err)
		}
		coll.Programs[p.name] = prog
	}
	for _, e := range l.elements {
		if err := coll.Maps[e.array].Put(e.key, coll.Programs[e.program]); err != nil {
			return fmt.Errorf("map %s: put program %s into element %v: %w", e.array, e.program, e.key, err)
		}
	}
	return nil
}

// progCode is what the kernel is given of a program, besides what its spec says.
type progCode struct {
	insns []byte
	// types is the BTF that funcs and lines refer to, nil without BTF.
	types        *btf.Handle
	funcs, lines []byte
	target       attachTarget
	// modules have the functions that the program calls: the offset of a call is the
	// index, starting at one.
	modules []*btf.Handle
}

// attachTarget is what a program is loaded for.
type attachTarget struct {
	id btf.TypeID
	// fd is that of the program or of the BTF of the module that has the function, 0
	// for the kernel itself.
	fd int
	// module, if any, is what fd is of.
	module *btf.Handle
}

// Close gives up what the kernel needs during the load only.
func (c *progCode) Close() {
	for _, h := range append(c.modules, c.types, c.target.module) {
		_ = h.Close()
	}
}

// loadProgram does what the loader does for a program.
func (o *Object) loadProgram(spec *ebpf.ProgramSpec, loaded map[string]*ebpf.Map, opts ebpf.CollectionOptions) (*ebpf.Program, error) {
	if len(spec.Instructions) == 0 {
		return nil, errors.New("has no instructions")
	}
	// An old kernel may lack what such programs refer to as well, and says of neither
	// that it is too old.
	if err := checkAttachType(spec, opts.Cache); err != nil {
		return nil, err
	}
	var code progCode
	defer code.Close()
	insns := slices.Clone(spec.Instructions)
	if err := useMaps(insns, loaded); err != nil {
		return nil, err
	}
	var types btf.Builder
	if err := relocate(insns, o.spec.ByteOrder, &types, opts); err != nil {
		return nil, fmt.Errorf("apply CO-RE relocations: %w", err)
	}
	var err error
	if code.funcs, code.lines, err = btf.MarshalExtInfos(insns, &types); err != nil {
		return nil, fmt.Errorf("function and line info: %w", err)
	}
	if !types.Empty() {
		if code.types, err = btf.NewHandle(&types); err != nil {
			return nil, fmt.Errorf("load BTF: %w", err)
		}
	}
	if code.modules, err = o.bindExterns(insns, opts.Cache); err != nil {
		return nil, err
	}
	if code.target, err = findTarget(spec, opts.Cache); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	if err := insns.Marshal(&buf, o.spec.ByteOrder); err != nil {
		return nil, err
	}
	code.insns = buf.Bytes()
	return code.load(spec, opts.Programs)
}

// checkAttachType returns an error when the kernel does not know the kind of program.
func checkAttachType(spec *ebpf.ProgramSpec, cache *btf.Cache) error {
	name, version := "BPF_TRACE_FSESSION", "7.0"
	if spec.Type == ebpf.LSM {
		name, version = "BPF_LSM_CGROUP", "6.0"
	}
	kernel, err := cache.Kernel()
	if err != nil {
		return fmt.Errorf("BTF of the kernel: %w", err)
	}
	var known *btf.Enum
	if err := kernel.TypeByName("bpf_attach_type", &known); err != nil {
		return fmt.Errorf("enum bpf_attach_type in the BTF of the kernel: %w", err)
	}
	if !slices.ContainsFunc(known.Values, func(v btf.EnumValue) bool { return v.Name == name }) {
		return fmt.Errorf("programs of this section need a kernel of version %s or later: call SetAutoload(false) on this one: %w", version, ebpf.ErrNotSupported)
	}
	return nil
}

// useMaps makes the instructions refer to the maps that were created.
func useMaps(insns asm.Instructions, loaded map[string]*ebpf.Map) error {
	for i := range insns {
		ins := &insns[i]
		name := ins.Reference()
		// A map that the user has put there has a descriptor already.
		if !ins.IsLoadFromMap() || name == "" || int32(ins.Constant) > 0 {
			continue
		}
		m := loaded[name]
		if m == nil {
			return fmt.Errorf("instruction %d refers to map %s, which the object does not have", i, name)
		}
		if err := ins.AssociateMap(m); err != nil {
			return fmt.Errorf("map %s: %w", name, err)
		}
	}
	return nil
}

// relocate applies CO-RE relocations to the instructions. types gets the types of the
// object whose numbers they are to have.
func relocate(insns asm.Instructions, order binary.ByteOrder, types *btf.Builder, opts ebpf.CollectionOptions) error {
	var relos []*btf.CORERelocation
	var at []*asm.Instruction
	for it := insns.Iterate(); it.Next(); {
		if relo := btf.CORERelocationMetadata(it.Ins); relo != nil {
			relos = append(relos, relo)
			at = append(at, it.Ins)
		}
	}
	if len(relos) == 0 {
		return nil
	}
	// As in the documentation of the option: it stands for the kernel and its modules.
	targets := []*btf.Spec{opts.Programs.KernelTypes}
	if targets[0] == nil {
		var err error
		if targets, err = kernelTypes(opts.Cache); err != nil {
			return err
		}
	}
	fixups, err := btf.CORERelocate(relos, append(targets, opts.Programs.ExtraRelocationTargets...), order, types.Add)
	if err != nil {
		return err
	}
	for i, fixup := range fixups {
		if err := fixup.Apply(at[i]); err != nil {
			return fmt.Errorf("%v: %w", relos[i], err)
		}
	}
	return nil
}

// kernelTypes returns the types of the kernel and of its modules.
func kernelTypes(cache *btf.Cache) ([]*btf.Spec, error) {
	kernel, err := cache.Kernel()
	if err != nil {
		return nil, fmt.Errorf("BTF of the kernel: %w", err)
	}
	all := []*btf.Spec{kernel}
	modules, err := cache.Modules()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, name := range modules {
		module, err := cache.Module(name)
		if err != nil {
			return nil, fmt.Errorf("BTF of module %s: %w", name, err)
		}
		all = append(all, module)
	}
	return all, nil
}

// findTarget returns the function or the hook that the program attaches to. Close the
// module of the result.
func findTarget(spec *ebpf.ProgramSpec, cache *btf.Cache) (attachTarget, error) {
	if spec.AttachTarget != nil {
		return findInProgram(spec.AttachTarget, spec.AttachTo)
	}
	name, missing := spec.AttachTo, "neither the kernel nor one of its modules has function %q in its BTF, it may be inlined there"
	if spec.Type == ebpf.LSM {
		// The kernel has an empty function for every hook.
		name, missing = "bpf_lsm_"+name, "the kernel has no hook %q, or lacks CONFIG_BPF_LSM"
	}
	f, types, module, err := kernelType[*btf.Func](name, cache)
	if errors.Is(err, btf.ErrNotFound) {
		return attachTarget{}, fmt.Errorf(missing+": change SEC() or Spec().AttachTo, or call SetAutoload(false): %w", spec.AttachTo, ebpf.ErrNotSupported)
	}
	if errors.Is(err, btf.ErrMultipleMatches) {
		return attachTarget{}, fmt.Errorf("the kernel has more than one function %q, and cannot be told which: %w", name, err)
	}
	if err != nil {
		return attachTarget{}, fmt.Errorf("find %s: %w", name, err)
	}
	target := attachTarget{module: module}
	if module != nil {
		target.fd = module.FD()
	}
	if target.id, err = types.TypeID(f); err != nil {
		return attachTarget{}, errors.Join(err, module.Close())
	}
	return target, nil
}

// findInProgram finds the target of a program that traces another BPF program.
func findInProgram(prog *ebpf.Program, name string) (attachTarget, error) {
	h, err := prog.Handle()
	if err != nil {
		return attachTarget{}, fmt.Errorf("BTF of the program to trace: %w", err)
	}
	defer h.Close()
	types, err := h.Spec(nil)
	if err != nil {
		return attachTarget{}, fmt.Errorf("BTF of the program to trace: %w", err)
	}
	var f *btf.Func
	if err := types.TypeByName(name, &f); err != nil {
		return attachTarget{}, fmt.Errorf("the program to trace has no function %q: change the name given to SetTarget: %w", name, err)
	}
	id, err := types.TypeID(f)
	return attachTarget{id: id, fd: prog.FD()}, err
}

// poisonedCall is the number of a helper that does not exist. It stands for a weak
// function that the kernel does not have: the verifier complains only when the call
// can be reached.
const poisonedCall = 0xbadcafe

// extern is a function or a variable of the kernel that the object declares.
type extern struct {
	// typ is a *btf.Func or a *btf.Var.
	typ  btf.Type
	weak bool
}

// kfunc is what the kernel has for a function, zero for a weak one that it lacks.
type kfunc struct {
	id btf.TypeID
	// offset is that of calls: which module has the function.
	offset int16
}

// bindExterns makes the instructions refer to functions and variables of the kernel.
// The modules that it returns are those that fix the offsets of calls; close them
// when the program is loaded.
func (o *Object) bindExterns(insns asm.Instructions, cache *btf.Cache) (modules []*btf.Handle, err error) {
	var externs map[string]extern
	kfuncs := make(map[string]kfunc)
	addresses := make(map[string]uint64)
	var loads []*asm.Instruction
	for it := insns.Iterate(); it.Next(); {
		ins := it.Ins
		name := ins.Reference()
		call := ins.IsKfuncCall()
		if name == "" || !call && (!ins.OpCode.IsDWordLoad() || ins.Src != asm.R0) {
			continue
		}
		if externs == nil {
			if externs, err = o.externs(); err != nil {
				return modules, err
			}
		}
		e, ok := externs[name]
		if !ok {
			continue
		}
		f, ok := e.typ.(*btf.Func)
		if !ok {
			addresses[name] = 0
			loads = append(loads, ins)
			continue
		}
		k, ok := kfuncs[name]
		if !ok {
			var module *btf.Handle
			k.id, module, err = findKfunc(f, cache)
			if errors.Is(err, btf.ErrNotFound) && !e.weak {
				err = fmt.Errorf("neither the kernel nor one of its modules has it: declare it __weak and ask bpf_ksym_exists, or call SetAutoload(false): %w", ebpf.ErrNotSupported)
			}
			// As for libbpf, one that differs is none: it is how a program asks which of
			// two prototypes the kernel has.
			missing := errors.Is(err, btf.ErrNotFound) || errors.Is(err, errIncompatible)
			if err != nil && !(e.weak && missing) {
				return modules, fmt.Errorf("kfunc %s: %w", name, err)
			}
			if module != nil {
				modules = append(modules, module)
				k.offset = int16(len(modules))
			}
			kfuncs[name] = k
		}
		switch {
		case !call:
			// Whether it is zero is all that a program may ask of it.
			ins.Constant = int64(k.id)
		case k.id == 0:
			ins.Src, ins.Constant = asm.R0, poisonedCall
		default:
			ins.Constant, ins.Offset = int64(k.id), k.offset
		}
	}
	if len(loads) == 0 {
		return modules, nil
	}
	hidden := kernelAddresses(addresses)
	if hidden != nil && !errors.Is(hidden, fs.ErrPermission) {
		return modules, hidden
	}
	for _, ins := range loads {
		name := ins.Reference()
		address := addresses[name]
		if address == 0 && !externs[name].weak {
			if hidden != nil {
				return modules, fmt.Errorf("ksym %s: %w", name, hidden)
			}
			return modules, fmt.Errorf("ksym %s: the kernel has no such symbol: declare it __weak and look whether its address is zero: %w", name, fs.ErrNotExist)
		}
		ins.Constant = int64(address)
	}
	return modules, nil
}

// externs returns the functions and variables of the kernel that the object declares.
func (o *Object) externs() (map[string]extern, error) {
	var list *btf.Datasec
	if err := o.spec.Types.TypeByName(".ksyms", &list); errors.Is(err, btf.ErrNotFound) {
		return map[string]extern{}, nil
	} else if err != nil {
		return nil, err
	}
	// BTF does not tell weak ones from others.
	f, err := elf.NewFile(strings.NewReader(o.elf))
	if err != nil {
		return nil, err
	}
	symbols, err := f.Symbols()
	if err != nil {
		return nil, err
	}
	externs := make(map[string]extern, len(list.Vars))
	for _, v := range list.Vars {
		externs[v.Type.TypeName()] = extern{typ: v.Type}
	}
	for _, s := range symbols {
		if e, ok := externs[s.Name]; ok && s.Section == elf.SHN_UNDEF {
			e.weak = elf.ST_BIND(s.Info) == elf.STB_WEAK
			externs[s.Name] = e
		}
	}
	return externs, nil
}

// errIncompatible says that a function of the kernel is not as the object declares it.
var errIncompatible = errors.New("has other parameters or results in the kernel: declare it as the kernel does")

// findKfunc returns the number of a function of the kernel, or of a module. The
// function has the name of local without its flavour. It fails with [btf.ErrNotFound]
// when there is none, and with [errIncompatible].
func findKfunc(local *btf.Func, cache *btf.Cache) (btf.TypeID, *btf.Handle, error) {
	f, types, module, err := kernelType[*btf.Func](essentialName(local.Name), cache)
	if err != nil {
		return 0, nil, err
	}
	id, err := types.TypeID(f)
	if err == nil {
		if bad := btf.CheckTypeCompatibility(local.Type, f.Type); bad != nil {
			err = fmt.Errorf("%w: %w", errIncompatible, bad)
		}
	}
	if err != nil {
		return 0, nil, errors.Join(err, module.Close())
	}
	return id, module, nil
}
