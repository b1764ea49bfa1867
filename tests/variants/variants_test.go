// Package variants_test works with a package that has two variants of an object, in the
// running kernel.
package variants_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/tests/variants/app"
)

func open(t *testing.T, v app.Variant) *app.Skeleton {
	t.Helper()
	return bpftest.Open(t, func() (*app.Skeleton, error) { return app.Open(v) })
}

func load(t *testing.T, v app.Variant) *app.Skeleton {
	t.Helper()
	skel := open(t, v)
	if err := skel.Load(); err != nil {
		t.Fatalf("%+v", err)
	}
	return skel
}

func run(t *testing.T, skel *app.Skeleton) {
	t.Helper()
	if _, _, err := skel.Progs.Filter.Program().Test(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
}

// What a variant does not have is nil, before Load and after it.
func TestNil(t *testing.T) {
	for _, v := range app.Variants() {
		t.Run(v.String(), func(t *testing.T) {
			skel := open(t, v)
			check := func() {
				t.Helper()
				altered := v == app.Altered
				for _, tt := range []struct {
					name      string
					has, want bool
				}{
					{"Maps.AlteredOnly", skel.Maps.AlteredOnly != nil, altered},
					{"Maps.StatesAltered", skel.Maps.StatesAltered != nil, altered},
					{"Maps.StatesPlain", skel.Maps.StatesPlain != nil, !altered},
					{"Maps.AppCounts", skel.Maps.AppCounts != nil, true},
					{"Maps.DataAltered", skel.Maps.DataAltered != nil, altered},
					{"Maps.Bss", skel.Maps.Bss != nil, true},
					{"Progs.AlteredFilter", skel.Progs.AlteredFilter != nil, altered},
					{"Progs.Filter", skel.Progs.Filter != nil, true},
					{"Progs.OnPacketAltered", skel.Progs.OnPacketAltered != nil, altered},
					{"Progs.OnPacketPlain", skel.Progs.OnPacketPlain != nil, !altered},
					{"Bss.AlteredFirst", skel.Bss.AlteredFirst != nil, altered},
					{"Bss.LatestAltered", skel.Bss.LatestAltered != nil, altered},
					{"Bss.LatestPlain", skel.Bss.LatestPlain != nil, !altered},
					{"Bss.Total", skel.Bss.Total != nil, true},
					{"Data.AppExtra", skel.Data.AppExtra != nil, altered},
					{"Data.AppId", skel.Data.AppId != nil, true},
					{"DataAltered.Steps", skel.DataAltered.Steps != nil, altered},
					{"DataFixed", skel.DataFixed != nil, true},
					{"Kconfig.ConfigBpf", skel.Kconfig.ConfigBpf != nil, altered},
					{"Kconfig.LinuxKernelVersion", skel.Kconfig.LinuxKernelVersion != nil, true},
				} {
					if tt.has != tt.want {
						t.Errorf("%s: has it: %v", tt.name, tt.has)
					}
				}
			}
			check()
			if err := skel.Load(); err != nil {
				t.Fatalf("%+v", err)
			}
			check()
		})
	}
}

// Variables are the kernel's memory, wherever they are in a variant.
func TestVariables(t *testing.T) {
	for _, v := range app.Variants() {
		t.Run(v.String(), func(t *testing.T) {
			skel := open(t, v)
			skel.Rodata.Step = 2
			skel.DataFixed.Fixed = 5
			*skel.Bss.Total = 100
			if v == app.Altered {
				// A pointer of one's own, and what it points to, as with subskeletons.
				steps := uint32(9)
				skel.DataAltered.Steps = &steps
			}
			if err := skel.Load(); err != nil {
				t.Fatalf("%+v", err)
			}
			run(t, skel)
			run(t, skel)
			if got := *skel.Bss.Total; got != 114 {
				t.Errorf("total is %d", got)
			}
			if *skel.Kconfig.LinuxKernelVersion == 0 {
				t.Error("no version")
			}
			if v == app.Plain {
				state, err := skel.Maps.StatesPlain.Lookup(0)
				if err != nil || state.Runs != 2 || skel.Bss.LatestPlain.Runs != 2 {
					t.Errorf("%+v, %+v, %v", state, skel.Bss.LatestPlain, err)
				}
				return
			}
			state, err := skel.Maps.StatesAltered.Lookup(0)
			if want := (app.StateAltered{Runs: 2, LastKey: 1}); err != nil || state != want || *skel.Bss.LatestAltered != want {
				t.Errorf("%+v, %+v, %v", state, skel.Bss.LatestAltered, err)
			}
			want := uint64(18)
			if *skel.Kconfig.ConfigBpf {
				want += 2
			}
			if got := *skel.Bss.AlteredFirst; got != want {
				t.Errorf("first is %d, want %d", got, want)
			}
			if _, err := skel.Maps.AlteredOnly.Lookup(1); err != nil {
				t.Error(err)
			}
		})
	}
}

// The subskeleton finds its variables in each variant.
func TestSubskeleton(t *testing.T) {
	for _, v := range app.Variants() {
		t.Run(v.String(), func(t *testing.T) {
			skel := load(t, v)
			lib := skel.Subskeletons.Limiter
			run(t, skel)
			if got := *lib.Bss.LimiterCalls; got != 1 {
				t.Errorf("%d calls", got)
			}
			if lib.Externs.AppId == nil || skel.Data.AppId == nil || lib.Externs.AppId != skel.Data.AppId {
				t.Error("the variable of the application is another")
			}
			if (lib.Externs.AppExtra != nil) != (v == app.Altered) {
				t.Errorf("app_extra: %v", lib.Externs.AppExtra)
			}
		})
	}
}

// Maps and programs are in the order of the object, and attached in it.
func TestOrder(t *testing.T) {
	for v, want := range map[app.Variant][]string{
		app.Plain:   {"filter", "on_packet", "limiter_watch"},
		app.Altered: {"altered_filter", "filter", "on_packet", "limiter_watch"},
	} {
		var got []string
		for p := range open(t, v).AllPrograms() {
			got = append(got, p.Name())
		}
		// Programs are in the order of sections.
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%v: %v, want %v", v, got, want)
		}
	}
}

func TestNoSuchVariant(t *testing.T) {
	for _, v := range []app.Variant{-1, 2} {
		if _, err := app.Open(v); err == nil || !strings.Contains(err.Error(), "open app.bpf.o, variant Variant(") || !strings.Contains(err.Error(), "there is no variant") {
			t.Errorf("%v: %v", v, err)
		}
	}
	if got := app.Variant(7).String(); got != "Variant(7)" {
		t.Error(got)
	}
	if got := app.Variants(); !slices.Equal(got, []app.Variant{app.Plain, app.Altered}) {
		t.Error(got)
	}
}
