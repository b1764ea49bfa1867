package loader

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

const (
	minLogSize = 64 << 10
	// MaxLogSize is how many bytes of log all kernels take, and more than any has to say.
	MaxLogSize = math.MaxUint32 >> 2
)

// loadPrograms loads the programs. It goes on when one is refused, so that the error has
// all of them.
func (l *load) loadPrograms() error {
	if len(l.selected) == 0 {
		return nil
	}
	code, err := l.assemble()
	if err != nil {
		return err
	}
	l.undo.Push(l.object.closePrograms)
	license := sys.CString(l.object.Image.License)
	for left := l.selected; len(left) > 0; {
		ready, rest, err := targetsFirst(left)
		if err != nil {
			return err
		}
		for _, p := range ready {
			if p.Target == nil {
				continue
			}
			if err := l.bindToLoaded(p); err != nil {
				return err
			}
		}
		if failed := l.loadSome(ready, code, license); len(failed) > 0 {
			return failed
		}
		left = rest
	}
	return nil
}

// Clone loads a program once more, between Prepare and Load, after change has changed a copy of
// its definition. The program is the caller's.
func (o *Object) Clone(p *Program, change func(*Program)) (*ebpf.Program, error) {
	l := o.loaded
	if l == nil || l.complete {
		return nil, errNotPrepared
	}
	if !slices.Contains(l.selected, p) {
		return nil, errors.New("it is not to be loaded: call SetAutoload(true) before Prepare")
	}
	clone := *p
	change(&clone)
	if clone.Target != nil {
		return nil, fmt.Errorf("its target, program %s, is not loaded yet: give another program", clone.Target.Name)
	}
	targets := l.targets
	defer func() { l.targets = targets }()
	if err := l.cloneTarget(p, &clone); err != nil {
		return nil, &ProgramError{Program: p, Err: err}
	}
	code, err := l.assemble()
	if err != nil {
		return nil, err
	}
	w := progLoader{load: l, linker: linker{code: code}, license: sys.CString(o.Image.License), alone: mayParallel()}
	if failed := w.loadProgram(&clone); failed != nil {
		return nil, l.explainFailure(failed)
	}
	return clone.Program, nil
}

// errNotPrepared is for what can be done between Prepare and Load alone.
var errNotPrepared = errors.New("the object is not prepared, or is loaded: call it between Prepare and Load")

// cloneTarget finds the target of a copy of a program, as that of one more program of the object.
func (l *load) cloneTarget(p, clone *Program) error {
	if clone.AttachTo == p.AttachTo && clone.AttachTarget == p.AttachTarget && clone.AttachType == p.AttachType {
		return nil
	}
	t, err := l.findTarget(clone)
	if err != nil {
		return err
	}
	clone.index = len(l.object.Programs)
	targets := make([]target, clone.index+1)
	copy(targets, l.targets)
	targets[clone.index] = t
	l.targets = targets
	return nil
}

// closePrograms closes the programs in the kernel.
func (o *Object) closePrograms() error {
	var errs []error
	for _, p := range o.Programs {
		if p.Program != nil {
			errs = append(errs, p.Program.Close())
			p.Program = nil
		}
	}
	return errors.Join(errs...)
}

// targetsFirst divides programs into those that can be loaded now, and those for programs
// of the same object that are not loaded yet.
func targetsFirst(programs []*Program) (now, later []*Program, err error) {
	waits := func(p *Program) bool { return p.Target != nil && p.Target.Program == nil }
	if !slices.ContainsFunc(programs, waits) {
		return programs, nil, nil
	}
	for _, p := range programs {
		switch {
		case !waits(p):
			now = append(now, p)
		case slices.Contains(programs, p.Target):
			later = append(later, p)
		default:
			return nil, nil, &ProgramError{Program: p, Err: fmt.Errorf("its target, program %s, is not loaded: call its SetAutoload(true)", p.Target.Name)}
		}
	}
	if len(now) == 0 {
		return nil, nil, &ProgramError{Program: later[0], Err: errors.New("its target is a program that is loaded after it: name another program with SetTarget")}
	}
	return now, later, nil
}

// loadSome loads programs, several at once where that is faster.
func (l *load) loadSome(programs []*Program, code *code, license sys.Pointer) ProgramErrors {
	failures := make([]*failure, len(programs))
	var next atomic.Int32
	alone := mayParallel()
	work := func() {
		w := progLoader{load: l, linker: linker{code: code}, license: license, alone: alone}
		for {
			i := int(next.Add(1)) - 1
			if i >= len(programs) {
				return
			}
			failures[i] = w.loadProgram(programs[i])
		}
	}
	var others sync.WaitGroup
	for range l.parallel(len(programs), alone) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
	var failed ProgramErrors
	for _, err := range failures {
		if err != nil {
			failed = append(failed, l.explainFailure(err))
		}
	}
	return failed
}

// parallel returns how many of n programs are loaded at once. alone is what mayParallel
// says.
func (l *load) parallel(n int, alone bool) int {
	at := l.opts.Parallel
	if at <= 0 {
		at = runtime.GOMAXPROCS(0)
	}
	if at = min(at, n); !alone {
		// The kernel's verifier works for one of such processes at a time, and each that
		// waits would take a thread.
		return 1
	}
	return at
}

// progLoader loads one program after the other.
type progLoader struct {
	*load
	linker
	license sys.Pointer
	// alone is what mayParallel says.
	alone bool
	attr  sys.ProgLoadAttr
	log   []byte
}

// loadProgram loads a program. explainFailure completes the failure that it returns.
func (w *progLoader) loadProgram(p *Program) *failure {
	w.log = nil
	err := w.loadCode(p)
	if err == nil {
		return nil
	}
	return &failure{
		ProgramError: ProgramError{Program: p, Err: err, Log: logLines(w.log), Code: slices.Clone(w.insns)},
		functions:    slices.Clone(w.order),
		starts:       slices.Clone(w.at),
	}
}

func (w *progLoader) loadCode(p *Program) error {
	w.link(p)
	tables, err := w.createTables()
	defer func() {
		// The program holds them.
		for _, fd := range tables {
			sys.Close(fd)
		}
	}()
	if err != nil {
		return err
	}
	w.setAttr(p)
	fd, err := w.verify(p)
	if err != nil {
		return err
	}
	if p.Program, err = ebpf.NewProgramFromFD(fd); err != nil {
		return err
	}
	if w.attr.LogLevel != 0 {
		p.Program.VerifierLog = sys.Text(w.log)
	}
	w.bindMetadata(fd)
	return nil
}

// setAttr sets what the kernel gets of the program.
func (w *progLoader) setAttr(p *Program) {
	w.attr = sys.ProgLoadAttr{
		Type:          uint32(p.Type),
		AttachType:    uint32(p.AttachType),
		Insns:         sys.PointerToSlice(w.insns),
		InsnCount:     uint32(len(w.insns) / insnSize),
		License:       w.license,
		KernelVersion: p.KernelVersion,
		Flags:         p.Flags,
		Name:          progName(p.Name),
		Ifindex:       p.Ifindex,
	}
	w.attr.UseToken(w.token.FD)
	if len(w.code.modules) > 1 {
		// Old kernels want it to be zero.
		w.attr.FDArray = sys.PointerToSlice(w.code.modules)
	}
	if len(w.targets) > 0 {
		t := w.targets[p.index]
		w.attr.AttachBTFID, w.attr.AttachFD = t.id, uint32(t.fd)
		if p.Type == ebpf.StructOps {
			w.attr.AttachType = t.member
		}
	}
	if p.Type == ebpf.Kprobe && (p.KernelVersion == 0 || p.KernelVersion == presentKernel) {
		w.attr.KernelVersion = sys.KernelVersion()
	}
	if w.btf < 0 {
		return
	}
	w.attr.BTFFD = uint32(w.btf)
	if !w.withoutFunc {
		w.useContexts(p, w.funcs)
		w.attr.FuncInfo = sys.PointerToSlice(w.funcs)
		w.attr.FuncInfoCount, w.attr.FuncInfoSize = uint32(len(w.funcs)), uint32(unsafe.Sizeof(image.FuncInfo{}))
	}
	if !w.withoutLine {
		w.attr.LineInfo = sys.PointerToSlice(w.lines)
		w.attr.LineInfoCount, w.attr.LineInfoSize = uint32(len(w.lines)), uint32(unsafe.Sizeof(image.LineInfo{}))
	}
}

// presentKernel in section version of an object stands for the version of the running
// kernel.
const presentKernel = 0xfffffffe

// progName returns the name of a program in the kernel, which takes letters, digits, "."
// and "_".
func progName(name string) (cut [sys.NameLen]byte) {
	n := 0
	for i := 0; i < len(name) && n < len(cut)-1; i++ {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_':
			cut[n] = c
			n++
		}
	}
	return cut
}

// verify is BPF_PROG_LOAD. A program that is refused is tried once more with a log, as the
// kernel works faster without. w.log is the log, nil without one.
func (w *progLoader) verify(p *Program) (fd int, err error) {
	level, size := w.opts.LogLevel, w.opts.LogSize
	if p.LogLevel != 0 {
		level = p.LogLevel
	}
	if p.LogSize != 0 {
		size = p.LogSize
	}
	size = min(max(size, minLogSize), MaxLogSize)
	for {
		if level != 0 {
			w.log = make([]byte, size)
			w.attr.LogLevel, w.attr.LogSize, w.attr.Log = level, size, sys.PointerToSlice(w.log)
		}
		fd, err := sys.ProgLoad(&w.attr, w.alone)
		switch {
		case err == nil:
			return fd, nil
		case level == 0:
			level = uint32(ebpf.LogLevelBranch)
		case errors.Is(err, syscall.ENOSPC) && size < MaxLogSize && (w.attr.LogTrueSize == 0 || w.attr.LogTrueSize > size):
			// The log did not fit.
			size = min(max(2*size, w.attr.LogTrueSize), MaxLogSize)
		default:
			return -1, err
		}
	}
}

// bindMetadata keeps the maps that describe the object with the program, whose list of
// maps is where bpftool looks for them. It is no loss when the kernel, before 5.10, cannot
// do that: libbpf ignores it, too.
func (w *progLoader) bindMetadata(prog int) {
	for i := range w.object.Image.Maps {
		if m := w.object.Maps[i].Map; m != nil && w.object.Image.Maps[i].Metadata {
			_ = sys.ProgBindMap(prog, m.FD())
		}
	}
}

// createTables makes the jump tables that the program uses, and has its instructions load
// their addresses. It returns their descriptors, on error too.
func (w *progLoader) createTables() ([]int, error) {
	var fds []int
	var made []uint32
	for _, use := range w.tables {
		i := slices.Index(made, use.table)
		if i < 0 {
			fd, err := w.createTable(&w.object.Image.JumpTables[use.table])
			if fd >= 0 {
				fds, made = append(fds, fd), append(made, use.table)
			}
			if err != nil {
				return fds, fmt.Errorf("jump table: %w", err)
			}
			i = len(fds) - 1
		}
		ins := insnAt(w.insns, use.at)
		ins.setSrc(pseudoMapValue)
		ins.setOff(0)
		ins.setImm(int32(fds[i]))
	}
	return fds, nil
}

// insnArrayValue is struct bpf_insn_array_value.
type insnArrayValue struct {
	// offset is the index of an instruction in the program.
	offset, _, _, _ uint32
}

// createTable makes the map of a jump table. It returns the descriptor on error, too, -1
// when there is none.
func (w *progLoader) createTable(table *image.JumpTableContents) (int, error) {
	var value insnArrayValue
	attr := sys.MapCreateAttr{
		Type: sys.InsnArray, KeySize: 4, ValueSize: uint32(unsafe.Sizeof(value)),
		MaxEntries: uint32(len(table.Instructions)), Name: sys.Name(".jumptables"),
	}
	attr.UseToken(w.token.FD)
	fd, err := sys.MapCreate(&attr)
	if err != nil {
		return -1, err
	}
	if w.at[table.Function] == 0 {
		return fd, errors.New("is of a function that the program does not have: build the object again")
	}
	for i, insn := range table.Instructions {
		key := uint32(i)
		value.offset = w.at[table.Function] - 1 + insn
		if err := sys.MapUpdate(fd, sys.PointerTo(&key), sys.PointerTo(&value), 0); err != nil {
			return fd, err
		}
	}
	return fd, sys.MapFreeze(fd)
}

// tooNew returns an error that wraps [ebpf.ErrNotSupported] when a kernel of a version, as in
// LINUX_VERSION_CODE, is older than the form of the program's section.
func (p *Program) tooNew(version uint32) error {
	// Some forms, such as xdp.frags, differ from others by flags alone, which FindType does
	// not compare, and the user may have changed flags.
	form, _, ok := secdef.Find(p.Section)
	if !ok || ebpf.ProgramType(form.Type) != p.Type || ebpf.AttachType(form.AttachType) != p.AttachType || p.Flags&form.Flags != form.Flags {
		if form, ok = secdef.FindType(p.Type, p.AttachType); !ok {
			return nil
		}
	}
	var major, minor uint32
	if _, err := fmt.Sscanf(form.Since, "%d.%d", &major, &minor); err != nil || version>>8 >= major<<8|minor {
		return nil
	}
	return fmt.Errorf("programs of this section need a kernel of version %s or later, and this one is %d.%d: call SetAutoload(false) on this program: %w", form.Since, version>>16, version>>8&0xff, ebpf.ErrNotSupported)
}

// failure is a program that was refused, with where its functions are in it.
type failure struct {
	ProgramError
	functions []uint32
	// starts is one more than where a function is, 0 for one that is not in the program.
	starts []uint32
}

// explainFailure completes an error. Those of several programs are completed one after the
// other, since what it asks is not for several goroutines.
func (l *load) explainFailure(f *failure) *ProgramError {
	e := &f.ProgramError
	if _, ok := e.Err.(syscall.Errno); !ok {
		// It did not come to BPF_PROG_LOAD.
		return e
	}
	if silent(e.Log) {
		e.Log = nil
		if tooNew := e.Program.tooNew(sys.KernelVersion()); tooNew != nil && errors.Is(e.Err, syscall.EINVAL) {
			e.Err = fmt.Errorf("%w: %w", tooNew, e.Err)
			return e
		}
		e.Err = fmt.Errorf("load program: the kernel refuses it for another reason than its instructions: %w", e.Err)
		return e
	}
	e.Source = l.object.lastLine(e.Log, f.functions, f.starts)
	l.explain(e)
	return e
}
