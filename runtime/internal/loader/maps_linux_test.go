package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/features"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// mapsOf returns an image that has maps.
func mapsOf(maps ...image.Map) *image.Object {
	for i := range maps {
		if maps[i].Inner == 0 {
			maps[i].Inner = image.NoIndex
		}
	}
	return &image.Object{Name: "long_name_of_object", License: "GPL", Maps: maps, Arena: image.Arena{Map: image.NoIndex}}
}

// array is the definition of an array of numbers.
func array(name string) image.Map {
	return image.Map{Name: name, Type: uint32(ebpf.Array), KeySize: 4, ValueSize: 4, MaxEntries: 3}
}

// section is the definition of a section's map.
func section(name string, kind image.MapKind, contents []byte, size uint32) image.Map {
	m := image.Map{Name: name, Kind: kind, Type: uint32(ebpf.Array), KeySize: 4, ValueSize: size, MaxEntries: 1, Contents: contents}
	if kind == image.RodataMap || kind == image.KconfigMap {
		m.Flags = unix.BPF_F_RDONLY_PROG
	}
	return m
}

// visible makes a variable of each map visible to others.
func visible(img *image.Object, maps ...uint32) *image.Object {
	for _, m := range maps {
		img.Variables = append(img.Variables, image.Variable{Name: "v", Map: m, Size: 4, Visible: true})
	}
	return img
}

func loadMaps(t testing.TB, img *image.Object, opts Options) *Object {
	t.Helper()
	bpftest.NeedsBPF(t)
	o := Open(img)
	if err := o.Load(opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

// infoOf returns what the kernel knows of a map.
func infoOf(t testing.TB, m *ebpf.Map) (info sys.MapInfo) {
	t.Helper()
	if err := sys.GetInfoByFD(m.FD(), &info); err != nil {
		t.Fatal(err)
	}
	return info
}

// wantParts fails the test unless the error has the texts.
func wantParts(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %v", part, err)
		}
	}
}

func TestSections(t *testing.T) {
	fds := kerneltest.FDs(t)
	big := make([]byte, 5000)
	big[4999] = 1
	img := visible(mapsOf(
		section(".data", image.DataMap, big, 5000),
		section(".bss", image.BssMap, nil, 100),
		section(".rodata", image.RodataMap, []byte{1, 2, 3, 4}, 4),
		section(".rodata.str1.1", image.RodataMap, []byte("text\x00"), 5),
		section(".kconfig", image.KconfigMap, nil, 4),
	), 0, 1, 2)
	o := loadMaps(t, img, Options{})
	for i, want := range []struct {
		name     string
		value    byte
		mappable bool
		frozen   bool
	}{
		{"long_nam.data", 1, true, false}, {"long_nam.bss", 0, true, false}, {"long_nam.rodata", 4, true, true},
		{".rodata.str1.1", 0, false, true}, {"long_na.kconfig", 0, true, true},
	} {
		m := o.Maps[i]
		info := infoOf(t, m.Map)
		if got := sys.Text(info.Name[:]); got != want.name {
			t.Errorf("%s is %q in the kernel, want %q", m.Name, got, want.name)
		}
		value, err := m.Map.LookupBytes(uint32(0))
		if err != nil || value[len(value)-1] != want.value {
			t.Errorf("%s: %x, %v", m.Name, value, err)
		}
		if mapped := info.Flags&unix.BPF_F_MMAPABLE != 0; m.Mappable != want.mappable || mapped != want.mappable {
			t.Errorf("%s: mappable %t, in the kernel %t", m.Name, m.Mappable, mapped)
		}
		if err := m.Map.Put(uint32(0), value); (err != nil) != want.frozen {
			t.Errorf("%s: put: %v", m.Name, err)
		}
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if after := kerneltest.FDs(t); len(after) > len(fds) {
		t.Errorf("descriptors before %v, after %v", fds, after)
	}
}

// A section made larger before Load has zeros at its end; too much is an error.
func TestResizedSection(t *testing.T) {
	img := mapsOf(section(".data", image.DataMap, []byte{1, 2, 3, 4}, 4))
	bpftest.NeedsBPF(t)
	o := Open(img)
	o.Maps[0].ValueSize = 8
	if err := o.Load(Options{}); err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if value, err := o.Maps[0].Map.LookupBytes(uint32(0)); err != nil || string(value) != "\x01\x02\x03\x04\x00\x00\x00\x00" {
		t.Errorf("%x, %v", value, err)
	}
	o = Open(img)
	o.Maps[0].ValueSize = 3
	wantParts(t, o.Load(Options{}), "map .data: has 4 bytes of contents and a value of 3")
}

// The names of sections' maps are libbpf's.
func TestKernelName(t *testing.T) {
	for _, c := range []struct{ object, section, want string }{
		{"object", ".bss", "object.bss"},
		{"my_object_name", ".rodata", "my_objec.rodata"},
		{"my_object_name", ".bss", "my_objec.bss"},
		{"my_object_name", ".kconfig", "my_obje.kconfig"},
		{"my_object_name", ".rodata.abracadabra", ".rodata.abracad"},
		{"my_object_name", ".data.x", ".data.x"},
		{"a-b+c", ".data", "a_b_c.data"},
		{"näme", ".data", "n__me.data"},
		{"", ".data", ".data"},
	} {
		l := load{object: &Object{Image: &image.Object{Name: c.object}}}
		name := l.kernelName(&Map{Name: c.section, Kind: image.DataMap})
		if got := sys.Text(name[:]); got != c.want {
			t.Errorf("%s of %s: %q, want %q", c.section, c.object, got, c.want)
		}
	}
}

func TestRingSize(t *testing.T) {
	for n, want := range map[uint32]uint32{0: 0, 1: 4096, 4096: 4096, 4097: 8192, 100000: 1 << 17, 1 << 31: 1 << 31, 1<<31 + 1: 1<<31 + 1} {
		if got := ringSize(n, 4096); got != want {
			t.Errorf("%d: %d, want %d", n, got, want)
		}
	}
}

// Maps of all kinds that need something of their own.
func TestKinds(t *testing.T) {
	bpftest.NeedsKernel(t, 5, 11, "storage of tasks")
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		t.Fatal(err)
	}
	page := uint32(os.Getpagesize())
	inner := image.Map{Name: "outer.inner", Kind: image.InnerMap, Type: uint32(ebpf.Array), KeySize: 4, ValueSize: 4, MaxEntries: 3}
	img := mapsOf(
		image.Map{Name: "ring", Type: uint32(ebpf.RingBuf), MaxEntries: page + 1},
		image.Map{Name: "events", Type: uint32(ebpf.PerfEventArray), KeySize: 4, ValueSize: 4, KeyType: 1, ValueType: 1},
		image.Map{Name: "outer", Type: uint32(ebpf.ArrayOfMaps), KeySize: 4, ValueSize: 4, MaxEntries: 4, Inner: 9},
		image.Map{Name: "outer_hash", Type: uint32(ebpf.HashOfMaps), KeySize: 4, ValueSize: 4, MaxEntries: 4, Inner: 9},
		array("element"),
		image.Map{Name: "node", Type: uint32(ebpf.Hash), KeySize: 4, ValueSize: 4, MaxEntries: 1, Flags: unix.BPF_F_NUMA_NODE},
		image.Map{Name: "bloom", Type: uint32(ebpf.BloomFilter), ValueSize: 4, MaxEntries: 10, Extra: 3},
		image.Map{Name: "tasks", Type: uint32(ebpf.TaskStorage), KeySize: 4, ValueSize: 4, Flags: unix.BPF_F_NO_PREALLOC, KeyType: 1, ValueType: 1},
		image.Map{Name: "devices", Type: uint32(ebpf.DevMap), KeySize: 4, ValueSize: 4, MaxEntries: 1},
		inner,
	)
	img.BTF = rawTypes(t, intType)
	img.Elements = []image.Element{{Map: 2, Key: 3, Target: 4}, {Map: 3, Key: 77, Target: 4}}
	o := loadMaps(t, img, Options{})
	for i, want := range map[int]sys.MapInfo{
		0: {MaxEntries: 2 * page},
		1: {MaxEntries: uint32(cpus)},
		2: {MaxEntries: 4},
		6: {MaxEntries: 10, Extra: 3},
		7: {KeyTypeID: 1, ValueTypeID: 1},
	} {
		info := infoOf(t, o.Maps[i].Map)
		got := sys.MapInfo{MaxEntries: info.MaxEntries, Extra: info.Extra, KeyTypeID: info.KeyTypeID, ValueTypeID: info.ValueTypeID}
		if got != want {
			t.Errorf("%s: %+v, want %+v", o.Maps[i].Name, got, want)
		}
	}
	if o.Maps[9].Map != nil {
		t.Error("the definition of an inner map is created")
	}
	element := infoOf(t, o.Maps[4].Map)
	for i, key := range map[int]uint32{2: 3, 3: 77} {
		var id uint32
		if err := o.Maps[i].Map.Lookup(key, &id); err != nil || id != element.ID {
			t.Errorf("%s: map %d, want %d, %v", o.Maps[i].Name, id, element.ID, err)
		}
	}
	again, err := o.NewMap(o.Maps[9])
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := o.Maps[2].Map.Put(uint32(0), again); err != nil {
		t.Error(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := o.NewMap(o.Maps[9]); !errors.Is(err, errNotLoaded) {
		t.Errorf("%v", err)
	}
}

// An inner map that the user gives stands in for the declared one.
func TestInnerMap(t *testing.T) {
	bpftest.NeedsBPF(t)
	like, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 8, ValueSize: 8, MaxEntries: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer like.Close()
	img := mapsOf(image.Map{Name: "outer", Type: uint32(ebpf.ArrayOfMaps), KeySize: 4, ValueSize: 4, MaxEntries: 1})
	o := Open(img)
	wantParts(t, o.Load(Options{}), "map outer: it holds maps, and does not say of which kind")
	o.Maps[0].InnerMap = like
	if err := o.Load(Options{}); err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if err := o.Maps[0].Map.Put(uint32(0), like); err != nil {
		t.Error(err)
	}
}

func TestElementErrors(t *testing.T) {
	bpftest.NeedsBPF(t)
	img := testImage(t, []function{{name: "p", insns: returns(0)}}, map[string]string{"p": "?socket"})
	img.Maps = mapsOf(image.Map{Name: "calls", Type: uint32(ebpf.ProgramArray), KeySize: 4, ValueSize: 4, MaxEntries: 2}).Maps
	img.Elements = []image.Element{{Map: 0, Key: 1, IsProgram: true}}
	_, err := loadImage(t, img, Options{}, nil)
	wantParts(t, err, "map calls: element 1 is program p, which is not to be loaded: call its SetAutoload(true)")
	on := func(o *Object) { o.Programs[0].Autoload = true }
	o, err := loadImage(t, img, Options{}, on)
	if err != nil {
		t.Fatal(err)
	}
	var id uint32
	if err := o.Maps[0].Map.Lookup(uint32(1), &id); err != nil || id == 0 {
		t.Errorf("program %d, %v", id, err)
	}
	img.Elements[0].Key = 2
	_, err = loadImage(t, img, Options{}, on)
	wantParts(t, err, "map calls: element 2, program p: the map has no such element: raise its max_entries")

	inner := array("inner")
	inner.Kind = image.InnerMap
	img = mapsOf(image.Map{Name: "outer", Type: uint32(ebpf.ArrayOfMaps), KeySize: 4, ValueSize: 4, MaxEntries: 1, Inner: 2}, array("a"), inner)
	img.Elements = []image.Element{{Map: 0, Key: 0, Target: 1}}
	o = Open(img)
	o.Maps[1].Autocreate = false
	wantParts(t, o.Load(Options{}), "map outer: element 0, map a: is not created: call its SetAutocreate(true)")
	o.Maps[1].Autocreate, o.Maps[1].ValueSize = true, 8
	wantParts(t, o.Load(Options{}), "map outer: element 0, map a: the kernel does not take it: maps must be like")
}

// A map is taken in place of a new one when it fits.
func TestReuse(t *testing.T) {
	bpftest.NeedsBPF(t)
	other := loadMaps(t, mapsOf(array("m")), Options{}).Maps[0].Map
	if err := other.Put(uint32(0), uint32(5)); err != nil {
		t.Fatal(err)
	}
	for _, how := range []string{"Reuse", "Maps"} {
		o := Open(mapsOf(array("m")))
		var opts Options
		if how == "Reuse" {
			o.Maps[0].Reuse = other
		} else {
			opts.Maps = map[string]*ebpf.Map{"m": other}
		}
		if err := o.Load(opts); err != nil {
			t.Fatal(err)
		}
		var value uint32
		if err := o.Maps[0].Map.Lookup(uint32(0), &value); err != nil || value != 5 || !o.Maps[0].Taken {
			t.Errorf("%s: %d, %v", how, value, err)
		}
		if o.Maps[0].Map == other {
			t.Errorf("%s: Close would close the other's map", how)
		}
		o.Close()
		o.Maps[0].MaxEntries, o.Maps[0].ValueSize = 4, 8
		err := o.Load(opts)
		if !errors.Is(err, ebpf.ErrMapIncompatible) {
			t.Errorf("%v", err)
		}
		wantParts(t, err, "map m: ", "value_size 4 and not 8, max_entries 3 and not 4")
	}
	o := Open(mapsOf(array("m")))
	wantParts(t, o.Load(Options{Maps: map[string]*ebpf.Map{"x": other}}), "map x is to be used in place of the object's, which has no map of this name")
}

func pinned(name string) image.Map {
	m := array(name)
	m.Pinning = 1
	return m
}

func TestPins(t *testing.T) {
	dir := bpftest.PinDir(t)
	first := loadMaps(t, mapsOf(pinned("m"), array("n")), Options{PinRoot: dir})
	second := loadMaps(t, mapsOf(pinned("m")), Options{PinRoot: dir})
	if a, b := infoOf(t, first.Maps[0].Map).ID, infoOf(t, second.Maps[0].Map).ID; a != b || first.Maps[0].Taken || !second.Maps[0].Taken {
		t.Errorf("maps %d and %d", a, b)
	}
	o := Open(mapsOf(pinned("m")))
	o.Maps[0].KeySize = 8
	o.Maps[0].Type = ebpf.Hash
	err := o.Load(Options{PinRoot: dir})
	if !errors.Is(err, ebpf.ErrMapIncompatible) {
		t.Errorf("%v", err)
	}
	wantParts(t, err, "map m: use what is pinned at "+dir+"/m", "the type Array and not Hash, key_size 4 and not 8")
	// By path, and a map that stays when the object goes.
	o = Open(mapsOf(array("k")))
	o.Maps[0].PinPath = filepath.Join(dir, "other")
	if err := o.Load(Options{}); err != nil {
		t.Fatal(err)
	}
	o.Close()
	if _, err := os.Stat(filepath.Join(dir, "other")); err != nil {
		t.Error(err)
	}
}

// What is pinned where a map should be is said.
func TestPinnedProgram(t *testing.T) {
	dir := bpftest.PinDir(t)
	img := testImage(t, []function{{name: "p", insns: returns(0)}}, map[string]string{"p": "socket"})
	o, err := loadImage(t, img, Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Programs[0].Program.Pin(filepath.Join(dir, "m")); err != nil {
		t.Fatal(err)
	}
	o = Open(mapsOf(pinned("m")))
	wantParts(t, o.Load(Options{PinRoot: dir}), "map m: use what is pinned at ", "it is not a map")
	for root, want := range map[string]string{
		t.TempDir():                "is not of a bpffs: `mount -t bpf bpf ",
		filepath.Join(dir, "none"): "make the directory in a bpffs",
	} {
		wantParts(t, o.Load(Options{PinRoot: root}), "map m: is to be pinned, and "+root, want)
	}
}

// Several loads of one map at the same moment end with the map of one of them, which stays
// pinned.
func TestPinRace(t *testing.T) {
	dir := bpftest.PinDir(t)
	for range 200 {
		os.Remove(filepath.Join(dir, "m"))
		os.Remove(filepath.Join(dir, "n"))
		var objects [3]*Object
		var errs [3]error
		var all sync.WaitGroup
		start := make(chan struct{})
		for i := range objects {
			objects[i] = Open(mapsOf(pinned("m"), pinned("n")))
			all.Go(func() {
				<-start
				errs[i] = objects[i].Load(Options{PinRoot: dir})
			})
		}
		close(start)
		all.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"m", "n"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		for m := range 2 {
			if a, b, c := infoOf(t, objects[0].Maps[m].Map).ID, infoOf(t, objects[1].Maps[m].Map).ID, infoOf(t, objects[2].Maps[m].Map).ID; a != b || b != c {
				t.Fatalf("maps %d, %d and %d", a, b, c)
			}
		}
		for _, o := range objects {
			o.Close()
		}
	}
}

// A load that fails takes its pins back, and leaves those of others.
func TestPinsOfFailure(t *testing.T) {
	dir := bpftest.PinDir(t)
	there := loadMaps(t, mapsOf(pinned("there")), Options{PinRoot: dir})
	o := Open(mapsOf(pinned("there"), pinned("mine"), pinned("replaced")))
	stop := errors.New("stop")
	err := o.Load(Options{PinRoot: dir, Done: func() error {
		if _, err := os.Stat(filepath.Join(dir, "mine")); err != nil {
			t.Error(err)
		}
		if err := os.Remove(filepath.Join(dir, "replaced")); err != nil {
			t.Error(err)
		}
		if err := there.Maps[0].Map.Pin(filepath.Join(dir, "there2")); err != nil {
			t.Error(err)
		}
		return errors.Join(stop, os.Rename(filepath.Join(dir, "there2"), filepath.Join(dir, "replaced")))
	}})
	if !errors.Is(err, stop) || len(strings.Split(err.Error(), "\n")) != 1 {
		t.Errorf("%v", err)
	}
	for name, want := range map[string]bool{"there": true, "mine": false, "replaced": true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever call fails, nothing stays, and the error says where.
func TestNthFailure(t *testing.T) {
	dir := bpftest.PinDir(t)
	inner := array("inner")
	inner.Kind = image.InnerMap
	open := func() *Object {
		img := visible(mapsOf(
			section(".data", image.DataMap, []byte{1, 2, 3, 4}, 4),
			section(".rodata", image.RodataMap, []byte{1, 2, 3, 4}, 4),
			pinned("m"),
			image.Map{Name: "outer", Type: uint32(ebpf.ArrayOfMaps), KeySize: 4, ValueSize: 4, MaxEntries: 1, Inner: 4},
			inner,
			array("n"),
			image.Map{Name: "calls", Type: uint32(ebpf.ProgramArray), KeySize: 4, ValueSize: 4, MaxEntries: 1},
		), 0, 1)
		img.Maps[1].Metadata = true
		programs := tagged(t)
		img.BTF, img.Code, img.Functions, img.Programs = programs.BTF, programs.Code, programs.Functions, programs.Programs
		img.Relocations, img.FuncInfo = programs.Relocations, programs.FuncInfo
		img.Elements = []image.Element{{Map: 3, Key: 0, Target: 5}, {Map: 6, Key: 0, IsProgram: true}}
		return Open(img)
	}
	// What is found out about the kernel is known from then on.
	o := open()
	if err := o.Load(Options{PinRoot: dir}); err != nil {
		t.Fatal(err)
	}
	o.Close()
	os.Remove(filepath.Join(dir, "m"))
	fds := kerneltest.FDs(t)
	for _, errno := range []unix.Errno{unix.EMFILE, unix.ENOMEM, unix.EPERM} {
		for n := 1; ; n++ {
			calls := 0
			var failed sys.Cmd
			restore := sys.SetFault(func(c sys.Cmd) error {
				if calls++; calls == n {
					failed = c
				}
				// A program is tried once more, with a log.
				if calls == n || calls == n+1 && c == sys.ProgLoadCmd && failed == c {
					return errno
				}
				return nil
			})
			o := open()
			err := o.Load(Options{PinRoot: dir, Parallel: 1})
			restore()
			if calls < n {
				if n < 25 {
					t.Errorf("Load makes only %d calls", n-1)
				}
				o.Close()
				os.Remove(filepath.Join(dir, "m"))
				break
			}
			if err == nil && (failed == sys.BTFLoadCmd && errno == unix.EPERM || failed == sys.ProgBindMapCmd) {
				// It does without.
				o.Close()
				os.Remove(filepath.Join(dir, "m"))
				continue
			}
			if !errors.Is(err, errno) {
				t.Errorf("call %d, %d: %v", n, failed, err)
			}
			if after := kerneltest.FDs(t); len(after) > len(fds) {
				t.Fatalf("call %d, %d: %v leaves %v of %v", n, failed, err, after, fds)
			}
			if _, err := os.Stat(filepath.Join(dir, "m")); err == nil {
				t.Fatalf("call %d, %d leaves its pin", n, failed)
			}
			for _, m := range o.Maps {
				if m.Map != nil {
					t.Errorf("call %d leaves map %s", n, m.Name)
				}
			}
			if o.Programs[0].Program != nil {
				t.Errorf("call %d leaves the program", n)
			}
		}
	}
}

// A load that finds no descriptors says nothing of the kernel.
func TestLackOfDescriptors(t *testing.T) {
	img := visible(mapsOf(section(".data", image.DataMap, []byte{1, 2, 3, 4}, 4)), 0)
	bpftest.NeedsBPF(t)
	restore := sys.SetFault(func(sys.Cmd) error { return unix.EMFILE })
	err := Open(img).Load(Options{})
	restore()
	if !errors.Is(err, unix.EMFILE) {
		t.Errorf("%v", err)
	}
	if o := loadMaps(t, img, Options{}); !o.Maps[0].Mappable {
		t.Error("the section cannot be mapped")
	}
	// Nor does one without rights.
	err = kerneltest.AsUser(t, func() error { return Open(img).Load(Options{}) })
	if !errors.Is(err, unix.EPERM) {
		t.Errorf("%v", err)
	}
	if o := loadMaps(t, img, Options{}); !o.Maps[0].Mappable {
		t.Error("the section cannot be mapped")
	}
}

// A kernel that lacks mappings is asked once, and gets sections without.
func TestWithoutMappings(t *testing.T) {
	bpftest.NeedsBPF(t)
	has, err := features.Has(features.Mmapable)
	if err != nil {
		t.Fatal(err)
	}
	if !has {
		t.Skip("needs a kernel that maps arrays (5.5)")
	}
	// EINVAL for another reason stays one.
	bad := section(".data", image.DataMap, nil, 4)
	bad.MaxEntries = 0
	o := Open(visible(mapsOf(bad), 0))
	err = o.Load(Options{})
	if !errors.Is(err, unix.EINVAL) {
		t.Errorf("%v", err)
	}
	wantParts(t, err, "map .data: create it: ")
}

// Zeros are not written, and all calls are those that are needed.
func TestCalls(t *testing.T) {
	bpftest.NeedsBPF(t)
	img := visible(mapsOf(
		section(".bss", image.BssMap, make([]byte, 64), 64),
		section(".data", image.DataMap, []byte{1, 0, 0, 0}, 4),
		section(".rodata", image.RodataMap, []byte{1, 0, 0, 0}, 4),
		array("m"),
	), 0, 1, 2)
	img.BTF = rawTypes(t, intType)
	var calls []sys.Cmd
	restore := sys.SetFault(func(c sys.Cmd) error { calls = append(calls, c); return nil })
	o := loadMaps(t, img, Options{})
	restore()
	o.Close()
	const create, update, freeze, info = sys.MapCreateCmd, sys.MapUpdateElemCmd, sys.MapFreezeCmd, sys.ObjInfoByFDCmd
	want := []sys.Cmd{sys.BTFLoadCmd, create, info, create, update, info, create, update, freeze, info, create, info}
	if !slices.Equal(calls, want) {
		t.Errorf("%v, want %v", calls, want)
	}
}

// Types that a map cannot do without are not given up.
func TestTypesOfMaps(t *testing.T) {
	bpftest.NeedsBPF(t)
	lock := &btf.Struct{Name: "bpf_spin_lock", Size: 4, Members: []btf.Member{{Name: "val", Type: intType}}}
	value := &btf.Struct{Name: "value", Size: 8, Members: []btf.Member{{Name: "lock", Type: lock}, {Name: "n", Type: intType, Offset: 32}}}
	m := array("locked")
	m.ValueSize, m.KeyType, m.ValueType = 8, 1, 3
	img := mapsOf(m)
	img.BTF = rawTypes(t, intType, lock, value)
	if got := infoOf(t, loadMaps(t, img, Options{}).Maps[0].Map); got.ValueTypeID == 0 {
		t.Errorf("%+v", got)
	}
	img.Maps[0].KeyType = 3 // 8 bytes, for a key of 4
	o := Open(img)
	if err := o.Load(Options{}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("%v", err)
	}
	img.Maps[0].ValueType = 1 // 4 bytes, for a value of 8
	if got := infoOf(t, loadMaps(t, img, Options{}).Maps[0].Map); got.ValueTypeID != 0 {
		t.Errorf("%+v", got)
	}
}

// A map that the kernel refuses says why, where the loader knows.
func TestExplainCreate(t *testing.T) {
	for _, c := range []struct {
		attr    sys.MapCreateAttr
		version uint32
		want    string
	}{
		{sys.MapCreateAttr{Type: sys.MapType(ebpf.BloomFilter), MaxEntries: 1}, 5<<16 | 10<<8 | 7, "maps of type BloomFilter need a kernel of version 5.16 or later, and this one is 5.10: leave it out with SetAutocreate(false)"},
		{sys.MapCreateAttr{Type: sys.MapType(ebpf.BloomFilter)}, 6 << 16, "it has no max_entries: declare them, or call SetMaxEntries"},
		{sys.MapCreateAttr{Type: sys.MapType(ebpf.TaskStorage), MaxEntries: 1}, 6 << 16, "a map of type TaskStorage takes no max_entries"},
		{sys.MapCreateAttr{Type: sys.MapType(ebpf.TaskStorage)}, 6 << 16, "must be declared with map_flags BPF_F_NO_PREALLOC"},
		{sys.MapCreateAttr{Type: sys.MapType(ebpf.CGroupStorage)}, 6 << 16, ""},
		{sys.MapCreateAttr{Type: sys.MapType(ebpf.Hash), MaxEntries: 1}, 6 << 16, ""},
	} {
		err := explainCreate(&c.attr, unix.EINVAL, c.version)
		if c.want == "" {
			if err != unix.EINVAL {
				t.Errorf("%v", err)
			}
			continue
		}
		wantParts(t, err, "invalid argument: ", c.want)
		if !errors.Is(err, unix.EINVAL) {
			t.Errorf("%v", err)
		}
	}
	if err := explainCreate(&sys.MapCreateAttr{}, unix.ENOMEM, 6<<16); err != unix.ENOMEM {
		t.Errorf("%v", err)
	}
}

func BenchmarkMaps(b *testing.B) {
	bpftest.NeedsBPF(b)
	var maps []image.Map
	for i := range 60 {
		maps = append(maps, array(fmt.Sprintf("map_%d", i)))
	}
	img := mapsOf(maps...)
	b.ReportAllocs()
	for b.Loop() {
		o := Open(img)
		if err := o.Load(Options{}); err != nil {
			b.Fatal(err)
		}
		o.Close()
	}
}
