package skeleton

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"weak"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"

	"github.com/rules-bpf/rules_bpf/internal/bpflib"
)

var (
	// ErrClosed is returned by operations on a closed skeleton.
	ErrClosed = errors.New("skeleton is closed")
	// ErrLoaded is returned by Load when the skeleton is loaded already.
	ErrLoaded = errors.New("skeleton is loaded already")
	// ErrNotLoaded is returned by Attach before Load.
	ErrNotLoaded = errors.New("skeleton is not loaded: call Load first")
)

// Desc is what generated code tells the runtime of its object.
type Desc struct {
	// Name is the object's name, used in errors.
	Name string
	// ELF is the object file.
	ELF string
	// Maps, Progs and Sections are in the order of the object; programs are
	// attached in this order.
	Maps     []MapDesc
	Progs    []ProgDesc
	Sections []SectionDesc
	// Arena is the map that one of the sections lies in.
	Arena ArenaDesc
	// Ksyms are the typed variables of the kernel that programs refer to.
	Ksyms []KsymDesc
	// StructOps are attached in this order too, after the programs.
	StructOps []StructOpsDesc
}

type state int

const (
	opened state = iota
	loaded
	closed
)

// Object is the part of a skeleton that is the same for all: generated
// skeletons embed it. Its methods may be called from several goroutines; fields
// of the skeleton (link slots, section pointers) are written by Load, Attach,
// Detach and Close, and reading these at the same time is up to the caller.
// Pointers into sections may be used at any time.
type Object struct {
	name string
	elf  string

	mu    sync.Mutex
	state state
	spec  *ebpf.CollectionSpec
	// vars are the variables with global linkage that are not hidden, for libraries.
	vars      map[string]bpflib.ObjectVar
	coll      *ebpf.Collection
	maps      []*UntypedMap
	progs     []*Program
	structOps []*StructOpsMap
	sections  []section
	arena     *arena
	ksyms     []KsymDesc
	usdtIDs   usdtIDs
}

// Open parses the object and fills the fields that desc names. It is called by
// the Open function of generated code.
func Open(desc Desc) (*Object, error) {
	o, err := open(desc)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", desc.Name, err)
	}
	return o, nil
}

func open(desc Desc) (*Object, error) {
	spec, err := ebpf.LoadCollectionSpecFromReader(strings.NewReader(desc.ELF))
	if err != nil {
		return nil, err
	}
	if err := checkByteOrder(spec); err != nil {
		return nil, err
	}
	// Load takes the contents of data sections from the section structs.
	// Variables would overwrite them with the values of the ELF and map the
	// sections a second time.
	vars := libraryVars(spec.Variables)
	spec.Variables = nil

	o := &Object{name: desc.Name, elf: desc.ELF, spec: spec, vars: vars, ksyms: desc.Ksyms}
	for _, d := range desc.Maps {
		ms := spec.Maps[d.name]
		if ms == nil {
			return nil, fmt.Errorf("map %s: not in the object: generate the code again", d.name)
		}
		handle, m := d.open()
		m.init(handle, d.name)
		m.spec = ms
		m.decl = mapDef(ms)
		o.maps = append(o.maps, m)
	}
	for _, d := range desc.Progs {
		ps := spec.Programs[d.name]
		if ps == nil {
			return nil, fmt.Errorf("program %s: not in the object: generate the code again", d.name)
		}
		p := newProgram(o, d, ps)
		o.progs = append(o.progs, p)
		d.open(p)
	}
	if err := o.openStructOps(desc.StructOps); err != nil {
		return nil, err
	}
	pageSize := os.Getpagesize()
	for _, d := range desc.Sections {
		ms := spec.Maps[d.name]
		if ms == nil {
			return nil, fmt.Errorf("section %s: not in the object: generate the code again", d.name)
		}
		var contents []byte
		if len(ms.Contents) == 1 {
			contents, _ = ms.Contents[0].Value.([]byte)
		}
		s, err := openSection(d, contents, pageSize)
		if err != nil {
			return nil, err
		}
		o.sections = append(o.sections, s)
	}
	if desc.Arena != (ArenaDesc{}) {
		return o, o.openArena(desc.Arena)
	}
	return o, nil
}

// openArena takes the section of the arena's variables from the loader, which would
// make a map of it.
func (o *Object) openArena(desc ArenaDesc) error {
	ms := o.spec.Maps[desc.Section]
	if ms == nil || o.spec.Maps[desc.Map] == nil {
		return fmt.Errorf("arena %s: not in the object: generate the code again", desc.Map)
	}
	o.arena = &arena{ArenaDesc: desc}
	if len(ms.Contents) == 1 {
		o.arena.initial, _ = ms.Contents[0].Value.([]byte)
	}
	delete(o.spec.Maps, desc.Section)
	return nil
}

// checkByteOrder rejects an object for the other byte order: its section
// structs would hold swapped values.
func checkByteOrder(spec *ebpf.CollectionSpec) error {
	probe := [2]byte{1, 0}
	if order := spec.ByteOrder; order != nil && order.Uint16(probe[:]) != binary.NativeEndian.Uint16(probe[:]) {
		return fmt.Errorf("object is %s, this machine is not: compile it for the target platform", order)
	}
	return nil
}

// Load creates the maps and loads the programs that are to be loaded, with the
// present values of the section structs and of the struct_ops tables.
//
// On success the section structs are the memory of their maps. A field of the
// skeleton that points to a section becomes nil when its map cannot be mapped:
// on kernels before 5.5, and for sections that hold a spin lock, a timer or a
// kptr. Pointers taken before then point to memory that nobody else sees.
//
// On error nothing stays in the kernel, no pin that Load has made either, and Load may
// be called again. For a rejected program it is a [*VerifierError]; the loader's own, a
// [*ebpf.VerifierError], is reachable through [errors.As] as well.
func (o *Object) Load() error {
	return o.LoadWithOptions(ebpf.CollectionOptions{})
}

// LoadWithOptions is Load with options for the loader, for example the
// verifier's log level, pin paths or maps to use instead of new ones.
//
// When opts has no Cache, loads share the decoded BTF of the kernel with each
// other for as long as the garbage collector leaves it in memory and the kernel has
// the same modules.
func (o *Object) LoadWithOptions(opts ebpf.CollectionOptions) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.load(opts); err != nil {
		return fmt.Errorf("load %s: %w", o.name, err)
	}
	return nil
}

func (o *Object) load(opts ebpf.CollectionOptions) (err error) {
	switch o.state {
	case loaded:
		return ErrLoaded
	case closed:
		return ErrClosed
	}
	// Before 5.11 the memory of maps counts against RLIMIT_MEMLOCK, whose
	// default is too low for most objects. As libbpf does since 1.0. Without the
	// right to raise it, loading may still succeed, and otherwise says why not.
	_ = rlimit.RemoveMemlock()

	if opts.Cache == nil {
		opts.Cache = sharedBTF.get()
	}

	spec := *o.spec
	var arenaValues []byte
	if o.arena != nil {
		arenaValues = o.arena.initial
	}
	for _, s := range o.sections {
		if s.kconfig != nil {
			if err := fillKconfig(s.region.bytes(), s.kconfig); err != nil {
				return err
			}
		}
		if o.inArena(s) {
			arenaValues = s.region.bytes()
			continue
		}
		o.spec.Maps[s.name].Contents = []ebpf.MapKV{{Key: uint32(0), Value: s.region.bytes()}}
	}
	ops, err := o.prepareStructOps(opts.Cache)
	if err != nil {
		return err
	}
	defer func() {
		if o.state != loaded {
			ops.close()
		}
	}()
	reused := make(map[string]*ebpf.Map)
	maps.Copy(reused, opts.MapReplacements)
	for _, m := range o.maps {
		for _, h := range append(m.shared, m) {
			if err := h.checkSizes(m.spec.KeySize, m.spec.ValueSize); err != nil {
				return err
			}
		}
		if m.reuse != nil {
			reused[m.name] = m.reuse
		}
	}
	spec.Maps = specsToLoad(o.spec.Maps, &opts.Maps)
	pins, err := pinsToMake(spec.Maps, reused, opts.Maps.PinPath)
	if err != nil {
		return err
	}
	defer func() {
		if o.state != loaded {
			err = removePins(err, pins)
		}
	}()
	if o.arena != nil {
		m, err := o.arena.create(spec.Maps[o.arena.Map], arenaValues, reused[o.arena.Map], opts.Maps)
		if err != nil {
			return err
		}
		// The collection has a reference of its own.
		defer m.Close()
		defer func() {
			if o.state != loaded {
				err = errors.Join(err, o.arena.discard())
			}
		}()
		reused[o.arena.Map] = m
	}
	kernelVars, err := resolveKsyms(o.ksyms, spec.Types, opts.Cache)
	if err != nil {
		return err
	}
	defer kernelVars.Close()
	if spec.Programs, err = o.programsToLoad(kernelVars, ops); err != nil {
		return err
	}
	if err := o.checkElements(&spec); err != nil {
		return err
	}
	if !kernelHasFloats() {
		replaceFloats(&spec)
	}
	opts.MapReplacements = reused
	own := takeOwn(&spec)
	coll, err := ebpf.NewCollectionWithOptions(&spec, opts)
	if err != nil {
		return o.explainLoad(err)
	}
	if err := o.loadOwn(own, coll, opts); err != nil {
		coll.Close()
		return err
	}
	if err := ops.create(coll.Programs); err != nil {
		coll.Close()
		return err
	}

	// From here on each section either is mapped or has no struct; undo both
	// when one of them fails.
	for i := range o.sections {
		s := &o.sections[i]
		if o.inArena(*s) {
			continue
		}
		m := coll.Maps[s.name]
		// The loader has filled and frozen the constant sections by now.
		err := s.region.mapOver(m.FD(), isReadOnlySection(s.name))
		if errors.Is(err, errNotMappable) {
			s.hide()
			continue
		}
		if err != nil {
			for j := range o.sections[:i] {
				s := &o.sections[j]
				err = errors.Join(err, s.region.release())
				s.show()
			}
			coll.Close()
			return fmt.Errorf("section %s: %w", s.name, err)
		}
	}

	for i := range o.sections {
		if s := &o.sections[i]; o.inArena(*s) {
			s.base = o.arena.pointer()
			s.show()
		}
	}
	for _, m := range o.maps {
		m.loaded.Store(coll.Maps[m.name])
		m.shared = nil
	}
	// From now on no pointer changes.
	for i := range o.sections {
		o.sections[i].vars = nil
	}
	for _, p := range o.progs {
		p.loaded.Store(coll.Programs[p.name])
	}
	ops.commit()
	o.coll = coll
	o.state = loaded
	return nil
}

// inArena says whether the section's variables lie in an arena.
func (o *Object) inArena(s section) bool { return o.arena != nil && s.name == o.arena.Section }

// programsToLoad returns the programs that are to be loaded, with all that refers
// to something which only the running kernel knows.
func (o *Object) programsToLoad(kernelVars ksyms, ops *structOpsLoad) (map[string]*ebpf.ProgramSpec, error) {
	specs := make(map[string]*ebpf.ProgramSpec, len(o.progs))
	for _, p := range o.progs {
		spec := p.spec
		if spec.Type == ebpf.StructOps {
			spec = ops.program(p)
		} else if !p.autoload {
			spec = nil
		}
		if spec == nil {
			continue
		}
		if err := checkTarget(spec); err != nil {
			return nil, fmt.Errorf("program %s, SEC(%q): %w", p.name, spec.SectionName, err)
		}
		if err := checkCasts(spec.Instructions); err != nil {
			return nil, fmt.Errorf("program %s, SEC(%q): %w", p.name, spec.SectionName, err)
		}
		if len(kernelVars) > 0 || o.arena != nil {
			// A copy: another Load may find other things.
			spec = spec.Copy()
			kernelVars.patch(spec.Instructions)
		}
		if o.arena != nil {
			if err := o.arena.patch(spec.Instructions); err != nil {
				return nil, fmt.Errorf("program %s, SEC(%q): %w", p.name, spec.SectionName, err)
			}
		}
		specs[p.name] = spec
	}
	return specs, nil
}

// checkElements returns an error when a program array is to hold a program that is not
// to be loaded.
func (o *Object) checkElements(spec *ebpf.CollectionSpec) error {
	for _, name := range slices.Sorted(maps.Keys(spec.Maps)) {
		m := spec.Maps[name]
		if m.Type != ebpf.ProgramArray {
			continue
		}
		for _, kv := range m.Contents {
			program, ok := kv.Value.(string)
			if ok && o.spec.Programs[program] != nil && spec.Programs[program] == nil {
				return fmt.Errorf("map %s: element %v is program %s, which is not to be loaded: call its SetAutoload(true), or take it out of Spec().Contents", name, kv.Key, program)
			}
		}
	}
	return nil
}

// defaultPinPath is where libbpf pins maps that are declared with
// LIBBPF_PIN_BY_NAME.
const defaultPinPath = "/sys/fs/bpf"

// specsToLoad returns the maps in the form in which the loader creates them as
// libbpf would: rings have a size that the kernel takes. It sets in opts where maps
// are pinned, unless that says it.
func specsToLoad(specs map[string]*ebpf.MapSpec, opts *ebpf.MapOptions) map[string]*ebpf.MapSpec {
	if opts.PinPath == "" {
		opts.PinPath = defaultPinPath
	}
	pageSize := uint32(os.Getpagesize())
	toLoad := maps.Clone(specs)
	for name, spec := range toLoad {
		toLoad[name] = withRingSize(spec, pageSize)
	}
	return toLoad
}

// pinsToMake returns the paths at which the loader will pin maps: those of maps to be
// pinned by their names that are neither reused nor pinned there already. The loader
// pins a map when it creates it, and does not take the pin back when something else
// fails.
func pinsToMake(specs map[string]*ebpf.MapSpec, reused map[string]*ebpf.Map, dir string) ([]string, error) {
	var paths []string
	for name, spec := range specs {
		if spec.Pinning != ebpf.PinByName || spec.Name == "" || reused[name] != nil {
			continue
		}
		path := filepath.Join(dir, spec.Name)
		_, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			paths = append(paths, path)
		} else if err != nil {
			return nil, fmt.Errorf("map %s: look for its pin: %w", name, err)
		}
	}
	return paths, nil
}

// removePins removes the pins that a load has made before it failed with err, and
// returns err with what went wrong here.
func removePins(err error, paths []string) error {
	for _, path := range paths {
		if bad := os.Remove(path); bad != nil && !errors.Is(bad, fs.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("unpin a map: %w", bad))
		}
	}
	return err
}

// withRingSize returns the map, with the number of bytes that a ring buffer holds
// rounded up to what the kernel takes: a power of two of pages. 0 stays 0, so that
// a size that was forgotten is an error.
func withRingSize(spec *ebpf.MapSpec, pageSize uint32) *ebpf.MapSpec {
	if inner := spec.InnerMap; inner != nil {
		if sized := withRingSize(inner, pageSize); sized != inner {
			spec = spec.Copy()
			spec.InnerMap = sized
		}
	}
	n := spec.MaxEntries
	if spec.Type != ebpf.RingBuf && spec.Type != ebpf.UserRingbuf || n == 0 || n > 1<<31 {
		return spec
	}
	size := max(pageSize, 1<<bits.Len32(n-1))
	if size == n {
		return spec
	}
	spec = spec.Copy()
	spec.MaxEntries = size
	return spec
}

// isReadOnlySection says whether the kernel's map of the section is frozen, as
// libbpf and cilium/ebpf do for constants.
func isReadOnlySection(name string) bool {
	return strings.HasPrefix(name, ".rodata")
}

// Attach attaches every loaded program that is to be attached automatically,
// whose section name gives the whole target and whose link slot is empty, then
// every struct_ops map that was created, and puts the links into the slots.
// [Object.Attachments] tells what it left out.
//
// On error what this call attached is detached again, and the error names the
// program or map at fault. Links that were there before stay.
func (o *Object) Attach() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.attach(); err != nil {
		return fmt.Errorf("attach %s: %w", o.name, err)
	}
	return nil
}

func (o *Object) attach() error {
	switch o.state {
	case opened:
		return ErrNotLoaded
	case closed:
		return ErrClosed
	}
	// Until all are attached, the reason of all that this call is to attach is that it
	// failed, of those too that it does not come to.
	var progs []*Program
	for _, p := range o.progs {
		if p.Program() == nil || *p.link != nil {
			continue
		}
		if p.unattached = p.leftOut(); p.unattached == "" {
			p.unattached = attachFailed
			progs = append(progs, p)
		}
	}
	var ops []*StructOpsMap
	for _, m := range o.structOps {
		if m.made == nil || *m.slot != nil {
			continue
		}
		if m.unattached = autoattachOff; m.autoattach {
			m.unattached = attachFailed
			ops = append(ops, m)
		}
	}
	var done []*link.Link
	for _, p := range progs {
		l, err := p.attachAuto()
		if err != nil {
			err = fmt.Errorf("program %s, SEC(%q): %w", p.name, p.spec.SectionName, err)
			return errors.Join(err, closeLinks(done))
		}
		*p.link = l
		done = append(done, p.link)
	}
	for _, m := range ops {
		l, err := m.attach()
		if err != nil {
			err = fmt.Errorf("map %s, SEC(%q): %w", m.name, m.section, err)
			return errors.Join(err, closeLinks(done))
		}
		*m.slot = l
		done = append(done, m.slot)
	}
	for _, p := range progs {
		p.unattached = detached
	}
	for _, m := range ops {
		m.unattached = detached
	}
	return nil
}

// Detach closes every link of the skeleton, those that the user put into a slot
// too, and empties the slots. The programs stay loaded, and Attach may be
// called again. Closing a link that is pinned does not detach its program.
func (o *Object) Detach() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.detach(); err != nil {
		return fmt.Errorf("detach %s: %w", o.name, err)
	}
	return nil
}

func (o *Object) detach() error {
	var slots []*link.Link
	for _, p := range o.progs {
		if *p.link != nil {
			slots = append(slots, p.link)
		}
	}
	for _, m := range o.structOps {
		if *m.slot != nil {
			slots = append(slots, m.slot)
		}
	}
	return closeLinks(slots)
}

// closeLinks closes the links in reverse order, as they may depend on each
// other, and empties their slots.
func closeLinks(slots []*link.Link) error {
	var errs []error
	for i := len(slots) - 1; i >= 0; i-- {
		errs = append(errs, (*slots[i]).Close())
		*slots[i] = nil
	}
	return errors.Join(errs...)
}

// Close detaches all programs and frees all that the skeleton holds in the
// kernel. It may be called in any state and more than once. Section structs
// remain readable and hold the last values; pinned maps and links stay in the
// kernel.
func (o *Object) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state == closed {
		return nil
	}
	o.state = closed
	errs := []error{o.detach()}
	for _, s := range o.sections {
		if err := s.region.release(); err != nil {
			errs = append(errs, fmt.Errorf("section %s: %w", s.name, err))
		}
	}
	if o.arena != nil {
		errs = append(errs, o.arena.release())
	}
	for _, m := range o.structOps {
		if loaded := m.Map(); loaded != nil {
			loaded.Close()
		}
	}
	if o.coll != nil {
		o.coll.Close()
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close %s: %w", o.name, err)
	}
	return nil
}

// sharedBTF holds the decoded BTF of the running kernel, which costs many
// times what loading a program does. It is held weakly: a process that loads
// once at its start does not keep it forever.
var sharedBTF = btfCache{dir: "/sys/kernel/btf"}

type btfCache struct {
	// dir has a file for the BTF of the kernel and of each of its modules.
	dir   string
	mu    sync.Mutex
	cache weak.Pointer[btf.Cache]
	// files are those that were in dir when the cache was made.
	files []os.FileInfo
}

func (c *btfCache) get() *btf.Cache {
	c.mu.Lock()
	defer c.mu.Unlock()
	// A module that is loaded again may have other types, and a cache keeps those of
	// the first time. Its file is another one then, as its number says.
	files := c.list()
	if cache := c.cache.Value(); cache != nil && slices.EqualFunc(files, c.files, os.SameFile) {
		return cache
	}
	cache := btf.NewCache()
	c.cache, c.files = weak.Make(cache), files
	return cache
}

// list returns the files in dir, none where there is no such folder: on kernels before
// 5.4 and on other systems.
func (c *btfCache) list() []os.FileInfo {
	entries, _ := os.ReadDir(c.dir)
	files := make([]os.FileInfo, 0, len(entries))
	for _, e := range entries {
		// A file that is gone by now is that of a module that goes.
		if info, err := e.Info(); err == nil {
			files = append(files, info)
		}
	}
	return files
}
