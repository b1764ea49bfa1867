package skeleton

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/subskel"
	"github.com/rules-bpf/rules_bpf/runtime/internal/attach"
	"github.com/rules-bpf/rules_bpf/runtime/internal/binding"
	"github.com/rules-bpf/rules_bpf/runtime/internal/kconfig"
	"github.com/rules-bpf/rules_bpf/runtime/internal/loader"
	"github.com/rules-bpf/rules_bpf/runtime/internal/region"
	"github.com/rules-bpf/rules_bpf/runtime/internal/undo"
	"github.com/rules-bpf/rules_bpf/runtime/internal/usdt"
)

var (
	// ErrClosed is returned by operations on a closed skeleton.
	ErrClosed = errors.New("skeleton is closed")
	// ErrLoaded is returned by Load, and by settings that count for Load alone, when the
	// skeleton is loaded already.
	ErrLoaded = errors.New("skeleton is loaded already")
	// ErrNotLoaded is returned by what needs maps and programs in the kernel, before Load and
	// where Load was to leave them out.
	ErrNotLoaded = errors.New("skeleton is not loaded: call Load first")
	// ErrNotOpen is returned by all methods of a skeleton that Open has not made.
	ErrNotOpen = errors.New("skeleton is not open: make it with the Open function of its package")
)

// The descriptions that generated code gives, by way of package skelimpl.
type (
	desc          = binding.Desc[*UntypedMap, *BaseProgram, *StructOpsMap]
	progDesc      = binding.Prog[*BaseProgram]
	structOpsDesc = binding.StructOps[*StructOpsMap]
	libraryDesc   = binding.LibraryDesc[*UntypedMap, *BaseProgram, *StructOpsMap, *Variable]
	mapDesc       = binding.Map[*UntypedMap]
)

func init() {
	binding.Object = open
	binding.Library = openLibrary
}

type state int

const (
	opened state = iota
	// prepared is an object whose maps are in the kernel, and whose programs are not.
	prepared
	loaded
	closed
)

// Object is the part of a skeleton that is the same for all: generated
// skeletons embed it. Its methods may be called from several goroutines; fields
// of the skeleton (link slots, section pointers) are written by Load, Attach,
// Detach and Close, and reading these at the same time is up to the caller.
// Pointers into sections may be used at any time.
//
// From a successful Load or Prepare until Close, this package holds the skeleton: programs stay
// attached and maps open whatever else the process still refers to, a pointer into a
// section or nothing at all. A skeleton that is neither loaded nor prepared goes with the
// last reference to it.
type Object struct {
	name string

	mu    sync.Mutex
	state state
	// fake is true when the maps are fakes, and nothing is in the kernel: see fake.go.
	fake bool
	// loader has the definitions, and what is in the kernel.
	loader *loader.Object
	// types decodes the object's BTF, when something asks for it.
	types func() (*btf.Spec, error)
	// vars are the variables with global linkage that are not hidden, for libraries: nil
	// until there is one.
	vars      map[string]subskel.ObjectVar
	maps      []*UntypedMap
	progs     []*BaseProgram
	structOps []*StructOpsMap
	sections  []section
	// memory has the sections that are not large.
	memory *region.Memory
	// refused are the settings that could not be made.
	refused []refusedSetting
	usdtIDs usdt.IDs
	readers readers
	// pins is what AdoptPinned has set, nil without it.
	pins *attach.Pins
}

// object is Object with the methods that are not exported. Each generated package embeds Object
// in its Skeleton, and the compiler makes two more copies there of all methods of Object,
// unexported ones too.
type object Object

// held are the objects that are loaded. Without it, the collector would close the file
// descriptors of one to which only pointers into its sections are left.
var held struct {
	sync.Mutex
	objects map[*object]struct{}
}

func (o *object) hold() {
	held.Lock()
	defer held.Unlock()
	if held.objects == nil {
		held.objects = make(map[*object]struct{})
	}
	held.objects[o] = struct{}{}
}

func (o *object) letGo() {
	held.Lock()
	defer held.Unlock()
	delete(held.objects, o)
}

// isOpen reports whether Open has made the object. That of a zero skeleton is nil.
func isOpen(o *Object) bool { return o != nil && o.loader != nil }

// open reads the object and fills the fields that d names: see skelimpl.Open.
func open(d desc) (*Object, error) {
	img, err := image.Decode(d.Image)
	if err == nil {
		var o *Object
		if o, err = openImage(img, d); err == nil {
			return o, nil
		}
	}
	return nil, fmt.Errorf("open %s: %w", d.Name, err)
}

func openImage(img *image.Object, d desc) (*Object, error) {
	o := &Object{name: d.Name, loader: loader.Open(img)}
	in := (*object)(o)
	in.decodeTypes()
	for _, step := range []func(desc) error{in.openMaps, in.openPrograms, in.openStructOps, in.openSections} {
		if err := step(d); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// decodeTypes makes o.types what decodes the object's BTF as it is now.
func (o *object) decodeTypes() {
	o.types = sync.OnceValues(func() (*btf.Spec, error) {
		return btf.LoadSpecFromReader(bytes.NewReader(o.loader.Image.BTF))
	})
}

// notInObject is the error for code that was generated for another object.
func notInObject(what, name string) error {
	return fmt.Errorf("%s %s: not in the object: generate the code again", what, name)
}

// sortBy puts handles into the order of what they are for, which they usually have already.
func sortBy[H, T any](handles []*H, order []*T, of func(*H) *T) {
	sorted := true
	index := func(h *H) int { return slices.Index(order, of(h)) }
	last := 0
	for _, h := range handles {
		// The search begins where the last one ended.
		n := slices.Index(order[last:], of(h))
		if sorted = n >= 0; !sorted {
			break
		}
		last += n
	}
	if !sorted {
		slices.SortStableFunc(handles, func(a, b *H) int { return cmp.Compare(index(a), index(b)) })
	}
}

// find returns the one of list that has the name, and its index, beginning the search at
// the index start: generated code has the order of the object.
func find[T any](list []*T, start int, name string, nameOf func(*T) string) (*T, int) {
	for n := range list {
		i := (start + n) % len(list)
		if nameOf(list[i]) == name {
			return list[i], i
		}
	}
	return nil, -1
}

func mapName(m *loader.Map) string             { return m.Name }
func programName(p *loader.Program) string     { return p.Name }
func structOpsName(s *loader.StructOps) string { return s.Name }

func (o *object) openMaps(desc desc) error {
	o.maps = make([]*UntypedMap, 0, len(desc.Maps))
	next := 0
	for _, d := range desc.Maps {
		def, i := find(o.loader.Maps, next, d.Name, mapName)
		if def == nil || def.Kind == image.InnerMap {
			return notInObject("map", d.Name)
		}
		next = i + 1
		m := d.Handle
		m.init(d.Name, d.Types)
		m.owner, m.def, m.decl = o, def, &o.loader.Image.Maps[i]
		m.declared = ebpf.MapType(m.decl.Type)
		m.readers = &o.readers
		o.maps = append(o.maps, m)
	}
	return nil
}

func (o *object) openPrograms(desc desc) error {
	o.progs = make([]*BaseProgram, 0, len(desc.Progs))
	next := 0
	for _, d := range desc.Progs {
		def, i := find(o.loader.Programs, next, d.Name, programName)
		if def == nil {
			return notInObject("program", d.Name)
		}
		next = i + 1
		p := newProgram(o, d, def)
		o.progs = append(o.progs, p)
		*d.Handle = p
	}
	// The programs of several variants have one order in generated code.
	sortBy(o.progs, o.loader.Programs, func(p *BaseProgram) *loader.Program { return p.def })
	return nil
}

func (o *object) openSections(desc desc) error {
	if len(desc.Sections) == 0 {
		return nil
	}
	img := o.loader.Image
	o.sections = make([]section, len(desc.Sections))
	specs := make([]region.Spec, len(desc.Sections))
	next := 0
	for n, d := range desc.Sections {
		s := &o.sections[n]
		s.name, s.size, s.field = d.Name, d.Size, fieldOf(d.Field)
		if def, i := find(o.loader.Maps, next, d.Name, mapName); def != nil && def.Kind.IsSection() {
			next = i + 1
			s.m, specs[n].Contents, specs[n].Size = def, def.Contents, int(def.ValueSize)
			// Generated code has a struct for the section, even if all its variables are static.
			def.Mmap = true
		} else if d.Name == subskel.Arena && img.Arena.Map != image.NoIndex {
			s.m, specs[n].Contents, specs[n].Size = o.loader.Maps[img.Arena.Map], img.Arena.Contents, int(img.Arena.Size)
		} else {
			return notInObject("section", d.Name)
		}
		if d.Apart {
			s.size = uintptr(specs[n].Size)
		}
		if err := s.checkSize(specs[n].Size); err != nil {
			return err
		}
		specs[n].Writable = !s.readOnly()
	}
	memory, regions := region.LayOut(specs)
	o.memory = memory
	for i := range o.sections {
		s := &o.sections[i]
		s.setRegion(&regions[i])
		s.region.Types = func() *btf.Datasec { return o.datasec(s.name) }
		if err := o.bindSectionVars(s, desc.Sections[i].Vars); err != nil {
			return err
		}
	}
	return nil
}

// bindSectionVars points the fields of a section's variables at them.
func (o *object) bindSectionVars(s *section, vars []binding.SectionVar) error {
	if len(vars) == 0 {
		return nil
	}
	offsets := make(map[string]image.Variable, len(vars))
	for _, v := range o.loader.Image.Variables {
		if v.Visible && o.sectionWith(v) == s {
			offsets[v.Name] = v
		}
	}
	for _, d := range vars {
		v, ok := offsets[d.Name]
		if !ok {
			return notInObject("variable", d.Name)
		}
		offset := uintptr(v.Offset)
		if d.Size > uintptr(v.Size) || offset%d.Align != 0 || offset+d.Size > uintptr(s.region.Capacity()) {
			return doesNotFit(d.Name)
		}
		s.bind(boundVar{d.Name, offset, d.Size, fieldOf(d.Field)}, true)
	}
	return nil
}

// sectionWith returns the section that has a variable, nil when user space has no memory of it.
func (o *object) sectionWith(v image.Variable) *section {
	if v.Map == image.NoIndex {
		return o.section(subskel.Arena)
	}
	return o.section(o.loader.Image.Maps[v.Map].Name)
}

// doesNotFit is the error for a variable of another size or offset than in generated code.
func doesNotFit(variable string) error {
	return fmt.Errorf("variable %s: does not fit the generated code: generate it again", variable)
}

// datasec returns the types of the variables of a section, nil when the object does not
// have them.
func (o *object) datasec(section string) *btf.Datasec {
	types, err := o.types()
	if err != nil {
		return nil
	}
	var ds *btf.Datasec
	if types.TypeByName(section, &ds) != nil {
		return nil
	}
	return ds
}

// ELF returns the object file, empty unless the code was generated with it (-elf of
// bpfgen): it is for those who read it with cilium/ebpf. Load does not need it.
func (o *Object) ELF() string {
	if !isOpen(o) {
		return ""
	}
	return o.loader.Image.ELF
}

// LoadOptions are the options of a load. The zero value is what [Object.Load] does.
type LoadOptions struct {
	// KernelTypes is raw BTF, such as that of /sys/kernel/btf/vmlinux of the same kernel
	// with all of its types, in which CO-RE relocations look for their types in place of
	// the running kernel's (libbpf's btf_custom_path). What programs attach to and call is
	// looked for in the running kernel's.
	KernelTypes []byte
	// KernelArchive has the types of several kernels without BTF of their own, as bpfgen
	// vmlinux -btf -archive and the rule bpf_min_btf write them. When the running kernel has
	// no BTF and KernelTypes is not set, CO-RE relocations look in those of its architecture
	// (uname -m: x86_64 for a program of 386, too) and release (uname -r). When there are
	// several, of distributions that call their kernels alike, all must give the same for
	// the programs that are loaded, or Load fails and names them.
	KernelArchive []byte
	// KernelName chooses among them: the beginning of their names, "ubuntu/20.04". The
	// default is to look at all, as os-release in a container is the image's.
	KernelName string
	// Kconfig has lines in the form of a kernel's .config, CONFIG_HZ=250. What it sets
	// counts, whatever is in the running kernel's configuration, which is only read for
	// variables that it does not set (libbpf's kconfig).
	Kconfig string
	// PinRoot is the directory in a bpffs where maps are pinned by their names,
	// /sys/fs/bpf when it is empty.
	PinRoot string
	// TokenPath is where a bpffs is mounted that delegates to this process's user namespace,
	// from which Load makes the BPF token that all is loaded with (libbpf's bpf_token_path,
	// Linux 6.9). When it is empty, the variable LIBBPF_BPF_TOKEN_PATH has the path, and when
	// that is not set, a process that is not in the initial user namespace tries /sys/fs/bpf,
	// and does without where that gives no token. A variable that is set and empty is for no
	// token.
	TokenPath string
	// LogLevel is how much the verifier logs, also for programs that it accepts, in
	// [ebpf.Program.VerifierLog]. Without one, a program is only verified with a log when
	// it was refused.
	LogLevel ebpf.LogLevel
	// LogSize is how many bytes the buffer for the verifier's log has at first, 0 the
	// default. It grows as long as the log does not fit.
	LogSize uint32
	// Parallel is how many programs are loaded at once: 0 is GOMAXPROCS, and 1 one after
	// the other. Without capabilities it is one, as the kernel does no more.
	Parallel int
	// Maps are used in place of new ones, by their names in C, as with
	// [UntypedMap.Reuse]. They must stay open until Load returns.
	Maps map[string]*ebpf.Map
}

// Load creates the maps and loads the programs that are to be loaded, with the
// present values of the section structs and of the struct_ops tables.
//
// On success the section structs are the memory of their maps. A field of the
// skeleton that points to a section becomes nil when its map cannot be mapped:
// on kernels before 5.5, and for sections that hold a spin lock, a timer or a
// kptr. Pointers taken before then point to memory that programs do not see.
//
// Where the user has replaced a section's struct or a struct_ops table by one of his
// own, or a subskeleton's pointer to a variable, Load takes the values of that, all of
// them, and points the field back at the memory that Open has set it to. A field that
// was set to nil is an error.
//
// After success the package holds the skeleton until Close, which must be called to
// free what is in the kernel: the collector detaches and frees nothing.
//
// On error nothing stays in the kernel, no pin that Load has made either, and Load may
// be called again. A program that was rejected is a [*VerifierError], which [errors.As]
// finds, and with it the [*ebpf.VerifierError]. The error has all programs that could not
// be loaded. A setting that was refused, and not made since, fails Load as well.
func (o *Object) Load() error {
	return o.LoadWithOptions(LoadOptions{})
}

// LoadWithOptions is Load with options.
func (o *Object) LoadWithOptions(opts LoadOptions) error {
	if !isOpen(o) {
		return fmt.Errorf("load: %w", ErrNotOpen)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := (*object)(o).load(opts); err != nil {
		return fmt.Errorf("load %s: %w", o.name, err)
	}
	return nil
}

func (o *object) load(opts LoadOptions) error {
	switch o.state {
	case prepared:
		return o.loadPrograms(opts)
	case loaded:
		return ErrLoaded
	case closed:
		return ErrClosed
	}
	if err := o.make(opts, o.loader.Load); err != nil {
		return err
	}
	o.commitMaps()
	o.commitPrograms()
	return nil
}

// Prepare makes the maps, and loads no programs (libbpf's bpf_object__prepare): the maps can be
// filled before any program sees them, given to other objects, and pinned ones are pinned. Load
// does the rest. Without it, Load does all.
//
// After Prepare, sections are what they are after Load, the memory of their maps, with .rodata
// and .kconfig read-only. Values of struct_ops tables count until Load. Settings fail with
// [ErrLoaded]. A Load that fails leaves the skeleton as Prepare has: it may be called again.
// Close frees what Prepare has made.
//
// On error nothing stays in the kernel, and Prepare or Load may be called.
func (o *Object) Prepare() error { return o.PrepareWithOptions(LoadOptions{}) }

// PrepareWithOptions is Prepare with the options for Load, which is called without then.
func (o *Object) PrepareWithOptions(opts LoadOptions) error {
	if !isOpen(o) {
		return fmt.Errorf("prepare: %w", ErrNotOpen)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := (*object)(o).prepare(opts); err != nil {
		return fmt.Errorf("prepare %s: %w", o.name, err)
	}
	return nil
}

func (o *object) prepare(opts LoadOptions) error {
	switch o.state {
	case prepared, loaded:
		return ErrLoaded
	case closed:
		return ErrClosed
	}
	if err := o.make(opts, o.loader.Prepare); err != nil {
		return err
	}
	o.commitMaps()
	o.state = prepared
	return nil
}

// make calls load with what the user has set.
func (o *object) make(opts LoadOptions, load func(loader.Options) error) error {
	if err := o.refusals(); err != nil {
		return err
	}
	defer o.dropContents()
	// A step that fails leaves a state in which it can be called again, so that there is
	// nothing to undo here; the loader undoes what it has made.
	steps := []func(LoadOptions) error{o.takeOver, o.adoptMaps, o.checkPinning, o.setTables, o.setKconfig, o.setContents}
	for _, step := range steps {
		if err := step(opts); err != nil {
			return err
		}
	}
	return o.loadImage(opts, load)
}

// loadPrograms is Load after Prepare.
func (o *object) loadPrograms(opts LoadOptions) error {
	if !reflect.ValueOf(opts).IsZero() {
		return fmt.Errorf("%w by Prepare, in part: give the options to PrepareWithOptions", ErrLoaded)
	}
	if err := o.takeOverTables(); err != nil {
		return err
	}
	if err := o.setTables(opts); err != nil {
		return err
	}
	if err := o.loader.Load(loader.Options{}); err != nil {
		return o.explainLoad(err)
	}
	o.commitPrograms()
	return nil
}

// loadImage makes what the object defines in the kernel, and maps the sections.
func (o *object) loadImage(opts LoadOptions, load func(loader.Options) error) error {
	err := load(loader.Options{
		KernelTypes:   opts.KernelTypes,
		KernelArchive: opts.KernelArchive,
		KernelName:    opts.KernelName,
		PinRoot:       opts.PinRoot,
		TokenPath:     opts.TokenPath,
		LogLevel:      uint32(opts.LogLevel),
		LogSize:       opts.LogSize,
		Parallel:      opts.Parallel,
		Maps:          opts.Maps,
		Done:          o.mapSections,
	})
	if err != nil {
		return o.explainLoad(err)
	}
	return nil
}

// takeOver takes the values that the user has given by replacing the structs.
func (o *object) takeOver(LoadOptions) error {
	for i := range o.sections {
		if err := o.sections[i].takeOver(); err != nil {
			return err
		}
	}
	return o.takeOverTables()
}

// takeOverTables is takeOver for struct_ops tables.
func (o *object) takeOverTables() error {
	for _, m := range o.structOps {
		if !m.ops.Autocreate {
			continue
		}
		if err := m.takeOver(); err != nil {
			return err
		}
	}
	return nil
}

// setKconfig sets the variables of .kconfig to the values of their Kconfig options.
func (o *object) setKconfig(opts LoadOptions) error {
	for _, m := range o.loader.Maps {
		if m.Kind != image.KconfigMap || !m.Autocreate {
			continue
		}
		values := make([]byte, m.ValueSize)
		if err := kconfig.Fill(values, o.loader.Image.Kconfig, opts.Kconfig); err != nil {
			return err
		}
		m.Contents = values
		if s := o.section(m.Name); s != nil {
			copy(s.region.Bytes(), values)
		}
	}
	return nil
}

// setContents gives the loader what the sections hold now. Others may write to them
// meanwhile, so these are copies.
func (o *object) setContents(LoadOptions) error {
	for i := range o.sections {
		s := &o.sections[i]
		s.before = s.region.Snapshot()
		s.m.Contents = s.before.Contents()
	}
	return nil
}

// dropContents gives up what setContents has made.
func (o *object) dropContents() {
	for i := range o.sections {
		s := &o.sections[i]
		s.before, s.m.Contents = nil, nil
	}
}

// mapSections makes the sections the memory of their maps, which hold what setContents
// has given. Each is mapped then or has no struct; on error neither.
func (o *object) mapSections() error {
	// Those that become read-only come last, when nothing can fail any more: after an error the
	// user must be able to write to them again.
	order := make([]*section, 0, len(o.sections))
	for _, readOnly := range []bool{false, true} {
		for i := range o.sections {
			if s := &o.sections[i]; s.readOnly() == readOnly && s.m.Map != nil && s.m.Arena == nil {
				order = append(order, s)
			}
		}
	}
	// Before any of it is replaced.
	old := o.memory.Alias()
	defer old.Close()
	// Separate from the loader's own stack, which closes the maps.
	var done undo.Stack
	for _, s := range order {
		if err := s.mapOver(old); err != nil {
			return errors.Join(fmt.Errorf("section %s: %w", s.name, err), done.Unwind())
		}
		done.Push(func() error {
			defer s.show()
			return s.region.Release(s.m.Map.FD())
		})
	}
	return nil
}

// commitMaps makes the handles of maps those of what is in the kernel.
func (o *object) commitMaps() {
	for i := range o.sections {
		s := &o.sections[i]
		if a := s.m.Arena; a != nil {
			s.base = unsafe.Add(a.Base, a.Offset)
			s.show()
		}
		// From now on no pointer changes.
		s.vars = nil
	}
	for _, m := range o.maps {
		m.loaded.Store(m.def.Map)
		m.shared = nil
	}
	o.hold()
}

// commitPrograms makes the handles of programs and struct_ops tables those of what is in the
// kernel.
func (o *object) commitPrograms() {
	for _, p := range o.progs {
		p.loaded.Store(p.def.Program)
	}
	for _, m := range o.structOps {
		m.fields = nil
		m.made = m.ops.Map
		m.loaded.Store(m.made)
	}
	o.state = loaded
}

// Attach attaches every loaded program that is to be attached automatically,
// whose section name gives the whole target and whose link slot has no open link, then
// every struct_ops map that was created, and puts the links into the slots. Options are
// those of the handles' SetAttachOptions.
// [Object.Attachments] lists what it left out.
//
// On error what this call attached is detached again, and the error names the
// program or map at fault. Links that were there before stay, those of an earlier process too
// that [Object.AdoptPinned] takes over.
func (o *Object) Attach() error {
	if !isOpen(o) {
		return fmt.Errorf("attach: %w", ErrNotOpen)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := (*object)(o).attach(); err != nil {
		return fmt.Errorf("attach %s: %w", o.name, err)
	}
	return nil
}

func (o *object) attach() error {
	switch o.state {
	case opened, prepared:
		return ErrNotLoaded
	case closed:
		return ErrClosed
	}
	if o.fake {
		return errFake
	}
	// Until all are attached, the reason of everything that this call is to attach is that it
	// failed, even of what it does not reach.
	var progs []*BaseProgram
	for _, p := range o.progs {
		if p.Program() == nil || p.slotInUse() {
			continue
		}
		if p.unattached = p.leftOut(); p.unattached == "" {
			p.unattached = attachFailed
			progs = append(progs, p)
		}
	}
	var ops []*StructOpsMap
	for _, m := range o.structOps {
		if m.made == nil || m.slotInUse() {
			continue
		}
		if m.unattached = autoattachOff; m.autoattach {
			m.unattached = attachFailed
			ops = append(ops, m)
		}
	}
	var done undo.Stack
	if err := attachAll(progs, &done); err != nil {
		return errors.Join(err, done.Unwind())
	}
	for _, m := range ops {
		l, err := m.attach()
		if err != nil {
			err = fmt.Errorf("map %s, SEC(%q): %w", m.name, m.ops.Section, err)
			return errors.Join(err, done.Unwind())
		}
		*m.slot = l
		done.Push(func() error { return undoSlot(m.slot) })
	}
	for _, p := range progs {
		p.unattached = detached
	}
	for _, m := range ops {
		m.unattached = detached
	}
	return nil
}

// Detach closes every link of the skeleton, those of programs with several and those that
// the user put into a slot too, and empties the slots. The programs stay loaded, and Attach may be
// called again. Closing a link that is pinned does not detach its program.
func (o *Object) Detach() error {
	if !isOpen(o) {
		return fmt.Errorf("detach: %w", ErrNotOpen)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := (*object)(o).detach(); err != nil {
		return fmt.Errorf("detach %s: %w", o.name, err)
	}
	return nil
}

func (o *object) detach() error {
	var links []link.Link
	for _, p := range o.progs {
		if *p.link != nil {
			links = append(links, *p.link)
			*p.link, p.unattached = nil, detached
		}
		links = append(links, p.further.Take()...)
	}
	for _, m := range o.structOps {
		if *m.slot != nil {
			links = append(links, *m.slot)
			*m.slot, m.unattached = nil, detached
		}
	}
	return attach.CloseAll(links)
}

// undoSlot takes back the connection of a slot, and empties the slot.
func undoSlot(slot *link.Link) error {
	err := attach.Undo(*slot)
	*slot = nil
	return err
}

// Close detaches all programs and frees all that the skeleton holds in the
// kernel. It may be called in any state and more than once. Section structs
// remain usable and hold the last values; pinned maps and links stay in the
// kernel. The package no longer holds the skeleton: what nothing refers to is
// collected.
//
// Other goroutines may be using the handles of maps and programs. Close first closes
// the readers of ring buffers and perf event arrays, so that one that waits returns. It
// waits for each system call of a handle that is in flight, and only for that: a range
// over a map goes on after it with an error, and its body may call Close. From then on
// all that needs the kernel fails with [ErrClosed].
func (o *Object) Close() error {
	if !isOpen(o) {
		return fmt.Errorf("close: %w", ErrNotOpen)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state == closed {
		return nil
	}
	o.state = closed
	defer (*object)(o).letGo()
	errs := append(o.readers.close(), (*object)(o).detach())
	for _, m := range o.maps {
		m.calls.end()
	}
	for _, m := range o.structOps {
		m.calls.end()
	}
	for _, p := range o.progs {
		p.calls.end()
	}
	for i := range o.sections {
		s := &o.sections[i]
		if !s.region.Mapped() {
			continue
		}
		if err := s.region.Release(s.m.Map.FD()); err != nil {
			errs = append(errs, fmt.Errorf("section %s: %w", s.name, err))
		}
	}
	for _, m := range o.loader.Maps {
		if err := m.Arena.Release(); err != nil {
			errs = append(errs, fmt.Errorf("map %s: %w", m.Name, err))
		}
	}
	for _, m := range o.structOps {
		if m.made != nil {
			// When Attach has made the map anew, the loader does not have it.
			errs = append(errs, m.made.Close())
		}
	}
	errs = append(errs, o.loader.Close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close %s: %w", o.name, err)
	}
	return nil
}
