package verify

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

// Run loads each program by itself, and closes it again: nothing stays in the kernel, no pin
// is made, and no struct_ops table is registered. It fails for files that are no objects, for
// names that no object has, and where the process may not use BPF; programs that do not load
// are results.
func Run(o Options) (*Report, error) {
	jobs, notes, err := o.jobs()
	if err != nil {
		return nil, err
	}
	if err := mayUseBPF(); err != nil {
		return nil, err
	}
	r, err := newRunner(&o)
	if err != nil {
		return nil, err
	}
	if r.options.KernelTypes, r.options.KernelArchive, err = o.kernelTypes(); err != nil {
		return nil, err
	}
	report := &Report{Version: Version, Results: []Result{}}
	for _, note := range notes {
		if !slices.Contains(report.Notes, note) {
			report.Notes = append(report.Notes, note)
		}
	}
	for _, j := range jobs {
		if note := o.leftOut(j); note != "" {
			report.Notes = append(report.Notes, note)
		}
		for i := range j.object.img.Programs {
			p := &j.object.img.Programs[i]
			result := r.result(j, p)
			if !o.wants(j.object, p.Name) || o.Selects != nil && !o.Selects(&result) {
				continue
			}
			r.verify(&result, j.object, i)
			report.Results = append(report.Results, result)
		}
	}
	return report, o.apply(report)
}

// mayUseBPF fails unless the process may create a map.
func mayUseBPF() error {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("this process may not use BPF (uid %d): run it as root, or in a kernel that bpf_verifier_test or bpfvm boots: %w", os.Getuid(), err)
	case err != nil:
		return fmt.Errorf("create a map, to see whether the kernel has BPF: %w", err)
	}
	return m.Close()
}

// runner loads programs.
type runner struct {
	*Options
	release, cpu string
	options      skeleton.LoadOptions
	// version is that of the kernel.
	version version
	// typ is that of the program that was loaded last, and callbacks is true when it takes
	// the address of a function.
	typ       ebpf.ProgramType
	callbacks bool
}

func newRunner(o *Options) (*runner, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return nil, fmt.Errorf("uname: %w", err)
	}
	r := &runner{Options: o, release: unix.ByteSliceToString(name.Release[:]), cpu: cpuName(unix.ByteSliceToString(name.Machine[:]))}
	r.version = parseVersion(r.release)
	if o.Kernel == "" {
		o.Kernel = r.version.String()
	}
	return r, nil
}

// cpuName is what @platforms calls a machine of uname -m.
func cpuName(machine string) string {
	switch machine {
	case "aarch64":
		return "arm64"
	case "i686":
		return "x86_32"
	}
	return machine
}

func (r *runner) result(j job, p *image.Program) Result {
	return Result{
		Object: j.object.name, Program: p.Name, Section: p.Section,
		Kernel: r.Kernel, Release: r.release, CPU: r.cpu, Preset: j.preset, Log: []string{},
	}
}

// verify loads the program with an index.
func (r *runner) verify(result *Result, object *loadable, index int) {
	section, target := settingOf(r.Sections, result), settingOf(r.Targets, result)
	if section != "" {
		result.Section = section
	}
	with, err := object.program(index, section, target)
	if err != nil {
		result.Verdict, result.Reason = Failed, err.Error()
		return
	}
	p := &with.img.Programs[index]
	err = r.load(result, with.img, p, target, ebpf.LogLevelStats)
	var rejected *skeleton.VerifierError
	if errors.As(err, &rejected) && result.Insns <= mostLogged {
		// The log of this level has what the verifier says at its end only, and neither the
		// instructions nor the lines of C that led there. The figures are those of the first
		// load: writing the log takes most of the time of the second.
		logged := *result
		err = r.load(&logged, with.img, p, target, ebpf.LogLevelStats|ebpf.LogLevelBranch)
		result.Log = logged.Log
	}
	r.judge(result, err)
}

// mostLogged is of how many instructions, as the verifier counts them, a log is asked for that
// has each of them: it takes some hundred bytes for one.
const mostLogged = 100_000

// load loads a program, and takes the figures. The error is that of the program's own.
func (r *runner) load(result *Result, img *image.Object, p *image.Program, target string, level ebpf.LogLevel) error {
	obj, program, needs, err := open(img, p.Name)
	if err != nil {
		return errSetting{err}
	}
	defer obj.Close()
	r.typ, r.callbacks = program.Type(), needs.callbacks
	if strings.Contains(target, ":") {
		loaded, function, err := r.target(target, program)
		if err != nil {
			return err
		}
		defer loaded.Close()
		if err := program.SetTarget(loaded.program.Program(), function); err != nil {
			return errSetting{fmt.Errorf("target %s: %w", quote.Text(target), err)}
		}
	}
	if err := program.SetLogLevel(level); err != nil {
		return errSetting{err}
	}
	if err := obj.LoadWithOptions(r.options); err != nil {
		var rejected *skeleton.VerifierError
		if errors.As(err, &rejected) {
			result.setStats(rejected.Err.Log)
			result.setLog(rejected.Err.Log)
		}
		return err
	}
	loaded := program.Program()
	if loaded == nil {
		return errSetting{errors.New("was left out of the load")}
	}
	log := lines(loaded.VerifierLog)
	result.setStats(log)
	result.setLog(log)
	return result.setInfo(obj, loaded)
}

// open opens the object so that Load loads one program of it, and makes the maps that it
// needs: one that the kernel lacks has to do with the programs that use it, and no others.
func open(img *image.Object, name string) (*skeleton.Object, *skeleton.BaseProgram, needs, error) {
	fail := func(err error) (*skeleton.Object, *skeleton.BaseProgram, needs, error) {
		return nil, nil, needs{}, err
	}
	at := slices.IndexFunc(img.Programs, func(p image.Program) bool { return p.Name == name })
	if at < 0 {
		return fail(fmt.Errorf("the object has no program %s", quote.Name(name)))
	}
	need := needsOf(img, img.Programs[at].Function)
	data, err := image.Encode(img, order)
	if err != nil {
		return fail(err)
	}
	obj, err := skeleton.OpenObject(string(data))
	if err != nil {
		return fail(err)
	}
	for p := range obj.AllPrograms() {
		if err := p.SetAutoload(p.Name() == name); err != nil {
			return fail(err)
		}
	}
	// They are in the order of the image, without definitions of values. Names need not be unique
	// in one that is linked, and struct_ops maps come last.
	var created []bool
	for i := range img.Maps {
		if img.Maps[i].Kind != image.InnerMap {
			created = append(created, need.maps[i])
		}
	}
	i := 0
	for m := range obj.AllMaps() {
		if i < len(created) && !created[i] {
			if err := m.SetAutocreate(false); err != nil {
				return fail(err)
			}
		}
		i++
	}
	return obj, obj.FindProgram(name), need, nil
}

// loadedTarget is a program that another one is for.
type loadedTarget struct {
	*skeleton.Object
	program *skeleton.BaseProgram
}

// target loads what OBJECT:PROGRAM or OBJECT:PROGRAM:FUNCTION names, and returns the function
// too: that of the section, or the program's own.
func (r *runner) target(text string, p *skeleton.BaseProgram) (*loadedTarget, string, error) {
	fail := func(err error) (*loadedTarget, string, error) {
		return nil, "", errSetting{fmt.Errorf("its target %s: %w", quote.Text(text), err)}
	}
	file, rest, _ := strings.Cut(text, ":")
	name, function, given := strings.Cut(rest, ":")
	if !given {
		function = p.Target()
		if function == "" {
			function = name
		}
	}
	object, err := readObject(file)
	if err != nil {
		return fail(err)
	}
	object = object.clone()
	object.prepare(r.MaxEntries)
	object.img.StructOps = nil
	obj, program, needs, err := open(object.img, name)
	if err != nil {
		return fail(err)
	}
	if err := obj.LoadWithOptions(r.options); err != nil {
		obj.Close()
		of := *r
		of.typ, of.callbacks = program.Type(), needs.callbacks
		result := Result{Section: program.Section()}
		if of.judge(&result, err); result.Verdict == NotApplicable {
			return nil, "", errLacks{fmt.Errorf("its target %s: %s", quote.Text(text), result.Reason)}
		}
		return fail(err)
	}
	return &loadedTarget{obj, program}, function, nil
}

// setInfo takes what the kernel says of the loaded program and of the maps that it uses.
func (r *Result) setInfo(obj *skeleton.Object, p *ebpf.Program) error {
	info, err := p.Info()
	if err != nil {
		return fmt.Errorf("ask the kernel about the program: %w", err)
	}
	stats, err := obj.Stats()
	if err != nil {
		return err
	}
	id, _ := info.ID()
	for _, s := range stats.Programs {
		if s.ID == id {
			r.Jited = uint64(s.JITedBytes)
			r.Insns = max(r.Insns, uint64(s.VerifiedInstructions))
		}
	}
	used, _ := info.MapIDs()
	for _, m := range stats.Maps {
		if slices.Contains(used, m.ID) {
			r.Memory += m.MemoryBytes
		}
	}
	return nil
}
