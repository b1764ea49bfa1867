package verify

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/btfarchive"
	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
)

// Options say what to load, and how.
type Options struct {
	// Objects are the object files, or images of such.
	Objects []string
	// Presets are those that objects are loaded with. An object that has none of the names
	// of any of them is loaded as it is, and so are all objects without presets.
	Presets []*Preset
	// Sections replace SEC() of programs, and Targets name what a program is for that SEC()
	// does not say: OBJECT:PROGRAM or OBJECT:PROGRAM:FUNCTION for those that replace or trace a
	// function of a BPF program, TYPE.MEMBER for those of struct_ops that are in no table.
	// Keys are as Limit.Program.
	Sections, Targets map[string]string
	Limits            []Limit
	MayFail           []Exception
	// Programs are those to be loaded, as Limit.Program, nil for all.
	Programs []string
	// Selects, when it is not nil, decides which of the remaining results are wanted.
	Selects func(*Result) bool
	// MaxEntries is for how many elements maps are made at most, 0 for as many as they say. It
	// is not for those whose size a preset says.
	MaxEntries uint32
	// KernelTypes is a file with the types of a kernel without BTF: raw BTF, or an archive of
	// several as bpfgen vmlinux -btf -archive writes it. It is empty for none.
	KernelTypes string
	// Kernel is what the kernel is called in the report: that of uname -r, up to the second
	// number, unless given.
	Kernel string

	// programs are those of all objects.
	programs named
}

// DefaultMaxEntries is what Options.MaxEntries is as a rule: tables of production take more
// memory than a virtual machine has.
const DefaultMaxEntries = 65536

// KernelName is the name of a kernel in a report: that of its target without the cpu, for
// which there is a field, as in 7.2_arm64.
func KernelName(target string) string {
	for _, cpu := range []string{"arm64", "s390x", "riscv64", "x86_64"} {
		if name, ok := strings.CutSuffix(target, "_"+cpu); ok && name != "" {
			return name
		}
	}
	return target
}

// ParsePair reads PROGRAM=VALUE, for Options.Sections and Options.Targets.
func ParsePair(text string, into map[string]string) error {
	program, value, ok := strings.Cut(text, "=")
	switch {
	case !ok || program == "" || value == "":
		return fmt.Errorf("%s: want PROGRAM=VALUE", quote.Text(text))
	case into[program] != "":
		return fmt.Errorf("%s: program %s has %s already", quote.Text(text), quote.Name(program), quote.Text(into[program]))
	}
	into[program] = value
	return nil
}

// job is an object with a preset.
type job struct {
	object *loadable
	preset string
}

// jobs reads the objects and applies the presets. It returns the notes for people.
func (o *Options) jobs() ([]job, []string, error) {
	if len(o.Objects) == 0 {
		return nil, nil, errors.New("no object is given")
	}
	var objects []*loadable
	for i, file := range o.Objects {
		if slices.ContainsFunc(o.Objects[:i], func(other string) bool { return filepath.Clean(other) == filepath.Clean(file) }) {
			return nil, nil, fmt.Errorf("%s: is given twice: give each object once", quote.Text(file))
		}
		object, err := readObject(file)
		if err != nil {
			return nil, nil, err
		}
		objects = append(objects, object)
		for _, p := range object.img.Programs {
			o.programs = append(o.programs, struct{ object, program string }{file, p.Name})
		}
	}
	for what, list := range map[string]map[string]string{"section": o.Sections, "target": o.Targets} {
		for program := range list {
			if err := o.programs.check(what, program); err != nil {
				return nil, nil, err
			}
		}
	}
	for _, pattern := range o.Programs {
		if err := o.programs.check("program", pattern); err != nil {
			return nil, nil, err
		}
	}
	var all []job
	used := make([]use, len(o.Presets))
	for i, p := range o.Presets {
		if slices.ContainsFunc(o.Presets[:i], func(other *Preset) bool { return other.Name == p.Name }) {
			return nil, nil, fmt.Errorf("preset %s: two have the name: give each one of its own", quote.Name(p.Name))
		}
		used[i] = p.newUse()
	}
	for _, object := range objects {
		found := false
		for i, p := range o.Presets {
			with, u, err := p.apply(object)
			if err != nil {
				return nil, nil, err
			}
			if with.chooses && len(with.chosen) == 0 {
				// It is for other objects.
				continue
			}
			used[i].or(u)
			if u.any() || p.isEmpty() {
				all = append(all, job{with, p.Name})
				found = true
			}
		}
		if !found {
			all = append(all, job{object.clone(), ""})
		}
	}
	for i, p := range o.Presets {
		if err := p.unused(used[i], objects); err != nil {
			return nil, nil, err
		}
	}
	var notes []string
	for _, j := range all {
		notes = append(notes, j.object.prepare(o.MaxEntries)...)
	}
	return all, notes, nil
}

// leftOut returns why no program is loaded of an object with a preset, empty when one is, or when
// it was asked for programs of other objects.
func (o *Options) leftOut(j job) string {
	asked := false
	for _, p := range j.object.img.Programs {
		if o.wants(j.object, p.Name) {
			return ""
		}
		asked = asked || o.asksFor(j.object, p.Name)
	}
	switch {
	case len(j.object.img.Programs) == 0:
		return fmt.Sprintf("%s: has no programs", quote.Text(j.object.name))
	case asked:
		return fmt.Sprintf("%s: preset %s chooses none of the programs that are asked for", quote.Text(j.object.name), quote.Text(j.preset))
	}
	return ""
}

// settingOf returns what a program has of Options.Sections or Options.Targets, empty for
// nothing.
func settingOf(list map[string]string, r *Result) string {
	for _, pattern := range slices.Sorted(maps.Keys(list)) {
		if matches(pattern, r.Object, r.Program) {
			return list[pattern]
		}
	}
	return ""
}

// kernelTypes reads Options.KernelTypes. One of the results is nil, or both are.
func (o *Options) kernelTypes() (raw, archive []byte, err error) {
	if o.KernelTypes == "" {
		return nil, nil, nil
	}
	data, err := readFile(o.KernelTypes)
	if err != nil {
		return nil, nil, err
	}
	if _, ok := rawbtf.OrderOf(data); ok {
		return data, nil, nil
	}
	if _, err := btfarchive.Read(data); err != nil {
		return nil, nil, fmt.Errorf("%s: want raw BTF, as that of /sys/kernel/btf/vmlinux, or an archive of several: it %w", quote.Text(o.KernelTypes), err)
	}
	return nil, data, nil
}

// wants reports whether a program is to be loaded.
func (o *Options) wants(object *loadable, program string) bool {
	return o.asksFor(object, program) && (!object.chooses || object.chosen[program])
}

// asksFor reports whether a program is one of Options.Programs.
func (o *Options) asksFor(object *loadable, program string) bool {
	for _, pattern := range o.Programs {
		if matches(pattern, object.name, program) {
			return true
		}
	}
	return len(o.Programs) == 0
}
