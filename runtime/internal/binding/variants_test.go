package binding_test

import (
	"slices"
	"testing"
	"unsafe"

	"github.com/rules-bpf/rules_bpf/runtime/internal/binding"
)

func TestSelect(t *testing.T) {
	type desc = binding.Desc[*int, *int, *int]
	for variant, want := range [][]string{
		0: {"all", "first"}, 1: {"all"}, 8: {"all", "ninth"}, 40: {"all"},
	} {
		if want == nil {
			continue
		}
		handles := [3]int{}
		fields := [3]*int{&handles[0], &handles[1], &handles[2]}
		only := func(i int) binding.Only {
			return binding.Only{In: []string{"", "\x01", "\x00\x01"}[i], Field: unsafe.Pointer(&fields[i])}
		}
		tables := fields
		var d desc
		for i, name := range []string{"all", "first", "ninth"} {
			d.Maps = append(d.Maps, binding.Map[*int]{Name: name, Only: only(i)})
			d.Progs = append(d.Progs, binding.Prog[*int]{Name: name, Only: binding.Only{In: only(i).In}})
			d.StructOps = append(d.StructOps, binding.StructOps[*int]{Name: name, Only: only(i), Field: binding.Field{Pointer: unsafe.Pointer(&tables[i])}})
			d.Sections = append(d.Sections, binding.Section{Name: name, Only: binding.Only{In: only(i).In}, Vars: []binding.SectionVar{
				{Name: "all"}, {Name: "first", Only: binding.Only{In: only(1).In}}, {Name: "ninth", Only: binding.Only{In: only(2).In}},
			}})
		}
		binding.Select(&d, variant)
		var maps, progs, ops, sections, vars []string
		for _, m := range d.Maps {
			maps = append(maps, m.Name)
		}
		for _, p := range d.Progs {
			progs = append(progs, p.Name)
		}
		for _, s := range d.StructOps {
			ops = append(ops, s.Name)
		}
		for _, s := range d.Sections {
			sections = append(sections, s.Name)
		}
		for _, v := range d.Sections[0].Vars {
			vars = append(vars, v.Name)
		}
		for _, got := range [][]string{maps, progs, ops, sections, vars} {
			if !slices.Equal(got, want) {
				t.Errorf("variant %d: got %v, want %v", variant, got, want)
			}
		}
		for i, name := range []string{"all", "first", "ninth"} {
			has := slices.Contains(want, name)
			if (fields[i] != nil) != has || (tables[i] != nil) != has {
				t.Errorf("variant %d: field %s: %v, table %v", variant, name, fields[i], tables[i])
			}
		}
	}
}
