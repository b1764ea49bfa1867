package attach

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// testPrograms are loaded programs with one map.
type testPrograms struct {
	m     *ebpf.Map
	progs []*Program
	// links are those of all.
	links Links
}

// load loads programs, until the test ends. The map may be nil.
func load(t *testing.T, m *ebpf.MapSpec, programs ...*ebpf.ProgramSpec) *testPrograms {
	t.Helper()
	bpftest.NeedsBPF(t)
	spec := &ebpf.CollectionSpec{Maps: make(map[string]*ebpf.MapSpec), Programs: make(map[string]*ebpf.ProgramSpec)}
	if m != nil {
		spec.Maps[m.Name] = m
	}
	for _, p := range programs {
		spec.Programs[p.Name] = p
	}
	all, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatal(err)
	}
	o := new(testPrograms)
	t.Cleanup(func() {
		o.detach(t)
		all.Close()
	})
	if m != nil {
		o.m = all.Maps[m.Name]
	}
	for _, p := range programs {
		o.progs = append(o.progs, &Program{Program: all.Programs[p.Name], Object: "test", Name: p.Name, Section: p.SectionName, AttachType: p.AttachType})
	}
	return o
}

// add returns a link as users have it, which detach closes.
func (o *testPrograms) add(l link.Link, err error) (link.Link, error) {
	if err != nil {
		return nil, err
	}
	l = o.links.Watch(l)
	o.links.Add(l)
	return l, nil
}

// detach closes the links.
func (o *testPrograms) detach(t *testing.T) {
	t.Helper()
	if err := CloseAll(o.links.Take()); err != nil {
		t.Error(err)
	}
}
