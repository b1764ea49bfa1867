package skeleton

import (
	"bytes"
	"errors"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// The initial value of a section is what programs read, with a struct in the skeleton and
// without one.
func TestInitialValue(t *testing.T) {
	bpftest.NeedsBPF(t)
	bpftest.NeedsKernel(t, 5, 5, "sections that can be mapped")
	for name, visible := range map[string]bool{"struct": true, "static variables alone": false} {
		t.Run(name, func(t *testing.T) {
			img := sectionsImage()
			img.Variables = []image.Variable{{Name: "number", Map: 0, Size: 4, Visible: visible}}
			o, err := openImage(img, describe(img))
			if err != nil {
				t.Fatal(err)
			}
			defer o.Close()
			m := o.FindMap(".data")
			if got := m.InitialValue(); !bytes.Equal(got, numbers(5)) {
				t.Errorf("the initial value is %v", got)
			}
			kerneltest.WantError(t, m.SetInitialValue(nil), "set initial value of map .data: the value has 4 bytes, and 0 are given")
			value := numbers(40)
			if err := m.SetInitialValue(value); err != nil {
				t.Fatal(err)
			}
			if got := m.InitialValue(); !bytes.Equal(got, value) || &got[0] == &value[0] {
				t.Errorf("the initial value is %v", got)
			}
			if err := o.Load(); err != nil {
				t.Fatal(err)
			}
			if got := result(t, o); got != 40 {
				t.Errorf("the program returns %d, want 40", got)
			}
			if got := m.InitialValue(); got != nil {
				t.Errorf("after Load it is %v", got)
			}
			if err := m.SetInitialValue(value); !errors.Is(err, ErrLoaded) {
				t.Errorf("after Load: %v", err)
			}
		})
	}
}

// The struct that the user has put in the place of the skeleton's does not come back.
func TestInitialValueOfReplacedStruct(t *testing.T) {
	img := sectionsImage()
	img.Variables = []image.Variable{{Name: "number", Map: 0, Size: 4, Visible: true}}
	o, err := openImage(img, describe(img))
	if err != nil {
		t.Fatal(err)
	}
	s, m := &o.sections[0], o.FindMap(".data")
	s.field.set(unsafe.Pointer(&[4]byte{1, 2, 3, 4}))
	if got := m.InitialValue(); !bytes.Equal(got, []byte{1, 2, 3, 4}) {
		t.Errorf("the initial value is %v", got)
	}
	if err := m.SetInitialValue([]byte{5, 6, 7, 8}); err != nil {
		t.Fatal(err)
	}
	if got := m.InitialValue(); !bytes.Equal(got, []byte{5, 6, 7, 8}) || s.field.get() != s.base {
		t.Errorf("the initial value is %v", got)
	}
	if err := s.takeOver(); err != nil || !bytes.Equal(s.region.Bytes(), []byte{5, 6, 7, 8}) {
		t.Errorf("Load takes %v, %v", s.region.Bytes(), err)
	}
}

// Maps without an initial value say so, then and in Load.
func TestNoInitialValue(t *testing.T) {
	o := openTestObject(t, []*ebpf.MapSpec{array("m")})
	defer o.Close()
	m := o.FindMap("m")
	if got := m.InitialValue(); got != nil {
		t.Errorf("an array has the initial value %v", got)
	}
	want := "set initial value of map m: maps of type Array have no initial value: put elements into the map after Load"
	kerneltest.WantError(t, m.SetInitialValue(make([]byte, 8)), want)
	kerneltest.WantError(t, o.Load(), want)

	img := sectionsImage()
	sections, err := openImage(img, describe(img))
	if err != nil {
		t.Fatal(err)
	}
	kerneltest.WantError(t, sections.FindMap(".kconfig").SetInitialValue(make([]byte, 8)), "it comes from the kernel's configuration: LoadOptions.Kconfig")
}
