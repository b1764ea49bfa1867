package skeleton

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/region"
)

// An object without generated code has its maps, programs and sections, and what is written
// to a section before Load and after it reaches the program.
func TestOpenObject(t *testing.T) {
	bpftest.NeedsBPF(t)
	bpftest.NeedsKernel(t, 5, 5, "sections that can be mapped")
	img := sectionsImage()
	img.Variables = []image.Variable{{Name: "number", Map: 0, Size: 4, Visible: true}, {Name: "own", Map: 2, Size: 4}}
	static := img.Maps[0]
	static.Name, static.Contents = ".data.own", nil
	img.Maps = append(img.Maps, static)
	data, err := image.Encode(img, nativeOrder)
	if err != nil {
		t.Fatal(err)
	}
	o, err := OpenObject(string(data))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	var names []string
	for m := range o.AllMaps() {
		names = append(names, m.Name())
	}
	for p := range o.AllPrograms() {
		names = append(names, p.Name())
	}
	for s := range o.AllSections() {
		names = append(names, s.Name())
		for v := range s.Variables() {
			names = append(names, fmt.Sprint(v.Name(), " in ", v.Section().Name(), " at ", v.Offset(), ", ", v.Size()))
		}
	}
	if want := []string{".data", ".kconfig", ".data.own", "sum", ".data", "number in .data at 0, 4", ".kconfig"}; !slices.Equal(names, want) {
		t.Errorf("has %q, want %q", names, want)
	}
	if o.FindMap("none") != nil || o.FindProgram("none") != nil || o.FindMap(".data") != o.maps[0] || o.FindProgram("sum") != o.progs[0] {
		t.Error("finds what is not there, or not what is")
	}
	if _, ok := o.FindSection(".bss"); ok {
		t.Error("finds .bss")
	}
	if _, ok := o.FindVariable("hidden"); ok {
		t.Error("finds a variable that is not global")
	}
	variable, ok := o.FindVariable("number")
	if !ok || !variable.Global() {
		t.Fatal("does not find number")
	}
	number := variable.Bytes()
	if len(number) != 4 || binary.NativeEndian.Uint32(number) != 5 {
		t.Fatalf("number is %v", number)
	}
	binary.NativeEndian.PutUint32(number, 30)
	if err := o.LoadWithOptions(LoadOptions{Kconfig: "CONFIG_NOR_THAT=12\n"}); err != nil {
		t.Fatal(err)
	}
	if info, err := o.FindMap(".data.own").Map().Info(); err != nil || info.Flags != 0 {
		t.Errorf("the section with a static variable alone has flags %#x, %v", info.Flags, err)
	}
	for _, want := range []uint32{42, 112} {
		if got, _, err := o.FindProgram("sum").Test(make([]byte, 64)); err != nil || got != want {
			t.Errorf("the program returns %d, %v, want %d", got, err, want)
		}
		binary.NativeEndian.PutUint32(number, 100)
	}
}

// A table's programs are what the collector knows as pointers, wherever its members are.
func TestOpenTable(t *testing.T) {
	img := newTestImage(t, nil, testSection("first", ebpf.StructOps, "struct_ops/first"), testSection("second", ebpf.StructOps, "struct_ops/second"))
	contents := make([]byte, 40)
	for i := range contents {
		contents[i] = byte(i)
	}
	img.StructOps = []image.StructOps{{Name: "table", Section: ".struct_ops", Contents: contents, Funcs: []image.OpsFunc{{Offset: 8, Program: 1}, {Offset: 24, Program: 0}}}}
	o, err := openImage(img, describe(img))
	if err != nil {
		t.Fatal(err)
	}
	m := o.FindStructOps("table")
	if m == nil || m != o.structOps[0] || o.FindStructOps("first") != nil || !slices.Equal(slices.Collect(o.AllStructOps()), o.structOps) {
		t.Errorf("table is %v", m)
	}
	if *m.Slot() != nil || *o.FindProgram("first").Slot() != nil {
		t.Error("there is a link in a slot")
	}
	value := m.InitialValue()
	if want := slices.Concat(contents[:8], make([]byte, 8), contents[16:24], make([]byte, 8), contents[32:]); !bytes.Equal(value, want) {
		t.Errorf("the table has the value %v, want %v", value, want)
	}
	kerneltest.WantError(t, m.SetInitialValue(value[1:]), "set initial value of map table: the value has 40 bytes, and 39 are given")
	value[0], value[8] = 50, 51
	if err := m.SetInitialValue(value); err != nil {
		t.Fatal(err)
	}
	if again := m.InitialValue(); again[0] != 50 || again[8] != 0 {
		t.Errorf("the table has the value %v", again)
	}
	m.bytes()[0] = 0
	for i, p := range []*BaseProgram{o.progs[1], o.progs[0]} {
		if got := *programAt(m.table, m.funcs[i]); got != p {
			t.Errorf("member at %d is %v, want program %s", m.funcs[i].Offset, got, p.Name())
		}
	}
	for _, i := range []int{0, 7, 16, 23, 32, 39} {
		if got := m.bytes()[i]; got != byte(i) {
			t.Errorf("byte %d is %d", i, got)
		}
	}
}

// A link in the slot of a table that was closed by hand leaves room for another.
func TestClosedLinkOfTable(t *testing.T) {
	img := newTestImage(t, nil)
	img.StructOps = []image.StructOps{{Name: "table", Section: ".struct_ops.link", Contents: make([]byte, 8)}}
	o, err := openImage(img, describe(img))
	if err != nil {
		t.Fatal(err)
	}
	m := o.structOps[0]
	l := &closeCounted{closed: 1}
	*m.slot = l
	if _, err := m.Attach(); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("a closed link in the slot: %v", err)
	}
	l.closed = 0
	if _, err := m.Attach(); err == nil || !strings.Contains(err.Error(), "it is attached") {
		t.Errorf("a link in the slot: %v", err)
	}
	*m.slot = nil
}

// The bytes of a section that was resized, and whose struct the user has replaced by a shorter
// one, are those of the section.
func TestBytesOfReplacedStruct(t *testing.T) {
	img := sectionsImage()
	img.Variables = []image.Variable{{Name: "number", Map: 0, Size: 4, Visible: true}}
	o, err := openImage(img, describe(img))
	if err != nil {
		t.Fatal(err)
	}
	s := &o.sections[0]
	own := &[4]byte{1, 2, 3, 4}
	s.field.set(unsafe.Pointer(own))
	section, _ := o.FindSection(".data")
	if b := section.Bytes(); len(b) != 4 || &b[0] != &own[0] {
		t.Errorf("before it is resized: %v", b)
	}
	const size = 1 << 16
	s.region = region.New(region.Spec{Size: size, Writable: true})
	s.base = s.region.Pointer()
	if b := section.Bytes(); len(b) != size || &b[0] != &s.region.Bytes()[0] || !bytes.Equal(b[:5], []byte{1, 2, 3, 4, 0}) || s.field.get() != s.base {
		t.Errorf("after it was resized: %d bytes, %v", len(b), b[:5])
	}
	if v, _ := o.FindVariable("number"); !bytes.Equal(v.Bytes(), own[:]) {
		t.Errorf("the variable is %v", v.Bytes())
	}
}

// What is not open, or is closed, has nothing to range over, or memory that is still there.
func TestContentsOfNothing(t *testing.T) {
	var o *Object
	for range o.AllMaps() {
		t.Error("has a map")
	}
	for range o.AllVariables() {
		t.Error("has a variable")
	}
	for range o.AllStructOps() {
		t.Error("has a table")
	}
	if o.FindProgram("any") != nil || o.FindStructOps("any") != nil {
		t.Error("has a program")
	}
}

// What FindSection returns where there is no such section has nothing either.
func TestZeroSection(t *testing.T) {
	var s DataSection
	for range s.Variables() {
		t.Error("has a variable")
	}
	if s.Name() != "" || s.Bytes() != nil {
		t.Errorf("is %q", s.Name())
	}
}

func TestOpenObjectErrors(t *testing.T) {
	data, err := image.Encode(sectionsImage(), nativeOrder)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"empty": "", "ELF": "\x7fELF", "cut": string(data[:len(data)-1])} {
		if _, err := OpenObject(text); err == nil || !strings.Contains(err.Error(), "open an object: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
