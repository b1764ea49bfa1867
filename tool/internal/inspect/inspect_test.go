package inspect_test

import (
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rules-bpf/rules_bpf/internal/goldens"
	"github.com/rules-bpf/rules_bpf/tool/internal/inspect"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

var (
	event  = Struct("event", M("pid", U32), M("when", U64))
	counts = Map(1, 1024, U32, event)
)

// objects are by the names of the files with what is said of them.
var objects = map[string]*File{
	"counter": {
		License:  "GPL",
		Programs: []Program{{Name: "count", Section: "xdp", Refs: []string{"counts", "limit"}}},
		Vars: []Var{
			{Section: ".maps", Name: "counts", Type: counts},
			{Section: ".rodata", Name: "limit", Type: Const(Volatile(U64)), Value: []byte{100, 0, 0, 0, 0, 0, 0, 0}},
			{Section: ".bss", Name: "last", Type: event},
		},
	},
	"tracing": {
		License: "GPL",
		Programs: []Program{
			{Name: "on_open", Section: "fentry/do_sys_openat2", Refs: []string{"events"}},
			{Name: "on_exec", Section: "?tp/sched/sched_process_exec"},
		},
		Vars: []Var{{Section: ".maps", Name: "events", Type: Map(27, 4096, nil, nil)}},
	},
	"kconfig": {
		Programs: []Program{{Name: "p", Section: "socket", Refs: []string{"CONFIG_HZ"}}},
		Vars:     []Var{{Section: ".kconfig", Name: "CONFIG_HZ", Type: S32, Extern: true}},
	},
	"own_section": {Programs: []Program{{Name: "mine", Section: "custom/hook"}}},
	"bigendian": {
		Order:    binary.BigEndian,
		Programs: []Program{{Name: "drop", Section: "tc", Refs: []string{"seen"}}},
		Vars:     []Var{{Section: ".data", Name: "seen", Type: Array(S32, 4), Value: []byte{0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4}}},
	},
}

func TestGolden(t *testing.T) {
	for name, file := range objects {
		report, err := inspect.Read(name+".bpf.o", file.Build())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		goldens.Check(t, filepath.Join("testdata", name+".txt"), report.Text())
		data, err := report.JSON()
		if err != nil {
			t.Fatal(err)
		}
		goldens.Check(t, filepath.Join("testdata", name+".json"), data)
		var again inspect.Report
		if err := json.Unmarshal(data, &again); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Damaged objects end in an error, or in a report of what is left.
func TestDamaged(t *testing.T) {
	object := objects["counter"].Build()
	whole, err := inspect.Read("x.bpf.o", object)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		damaged, _ := Mutate(r, object)
		report, err := inspect.Read("x.bpf.o", damaged)
		if err != nil {
			continue
		}
		diff := inspect.Compare(report, report)
		if len(diff.Changes) > 0 {
			t.Errorf("differs from itself: %s", diff.Text())
		}
		for _, text := range [][]byte{report.Text(), inspect.Compare(whole, report).Text()} {
			for _, c := range string(text) {
				if c != '\n' && !strconv.IsPrint(c) {
					t.Errorf("has %U in\n%s", c, text)
					break
				}
			}
		}
	}
	if _, err := inspect.Read("x.bpf.o", []byte("hello")); err == nil {
		t.Error("a text is inspected, want an error")
	}
}
