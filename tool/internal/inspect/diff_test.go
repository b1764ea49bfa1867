package inspect_test

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/rules-bpf/rules_bpf/internal/goldens"
	"github.com/rules-bpf/rules_bpf/tool/internal/inspect"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

// What changes between the two: a bit of everything.
var (
	before = &File{
		License: "GPL",
		Programs: []Program{
			{Name: "kept", Section: "xdp", Refs: []string{"counts", "limit"}},
			{Name: "moved", Section: "tc", Refs: []string{"last"}},
			{Name: "gone", Section: "fentry/do_sys_openat2", Refs: []string{"mode"}},
		},
		Vars: []Var{
			{Section: ".maps", Name: "counts", Type: Map(1, 1024, U32, Struct("event", M("pid", U32), M("old", U32), M("when", U64)))},
			{Section: ".maps", Name: "sizes", Type: Map(1, 10, U32, U64)},
			{Section: ".maps", Name: "dropped", Type: Map(1, 10, U32, U32)},
			{Section: ".rodata", Name: "limit", Type: Const(Volatile(U64)), Value: []byte{100, 0, 0, 0, 0, 0, 0, 0}},
			{Section: ".bss", Name: "last", Type: U32},
			{Section: ".bss", Name: "hidden", Type: U32, Static: true},
			{Section: ".data", Name: "mode", Type: Enum("mode", V("MODE_OFF", 0), V("MODE_ON", 1)), Value: []byte{1, 0, 0, 0}},
			{Section: ".kconfig", Name: "CONFIG_HZ", Type: S32, Extern: true},
		},
	}
	after = &File{
		License: "Dual BSD/GPL",
		Programs: []Program{
			{Name: "kept", Section: "xdp", Refs: []string{"counts", "limit"}},
			{Name: "moved", Section: "tcx/ingress", Refs: []string{"last"}},
			{Name: "fresh", Section: "?tp/sched/sched_process_exec", Refs: []string{"mode", "events"}},
		},
		Vars: []Var{
			{Section: ".maps", Name: "counts", Type: Map(1, 2048, U32, Struct("event", M("pid", S32), M("when", U64), M("more", U64)))},
			{Section: ".maps", Name: "sizes", Type: Map(2, 10, U32, U32)},
			{Section: ".maps", Name: "events", Type: Map(27, 4096, nil, nil)},
			{Section: ".rodata", Name: "limit", Type: Const(Volatile(U64)), Value: []byte{200, 0, 0, 0, 0, 0, 0, 0}},
			{Section: ".data", Name: "last", Type: U32, Value: []byte{1, 0, 0, 0}},
			{Section: ".data", Name: "mode", Type: Enum("mode", V("MODE_ON", 0), V("MODE_MORE", 1)), Value: []byte{1, 0, 0, 0}},
		},
	}
)

func report(t *testing.T, file *File) *inspect.Report {
	t.Helper()
	r, err := inspect.Read("x.bpf.o", file.Build())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCompare(t *testing.T) {
	diff := inspect.Compare(report(t, before), report(t, after))
	goldens.Check(t, filepath.Join("testdata", "diff.txt"), diff.Text())
	data, err := diff.JSON()
	if err != nil {
		t.Fatal(err)
	}
	goldens.Check(t, filepath.Join("testdata", "diff.json"), data)
	var again inspect.Diff
	if err := json.Unmarshal(data, &again); err != nil || !reflect.DeepEqual(&again, diff) {
		t.Errorf("JSON: %v, %v", again, err)
	}
}

// An object is not different from itself, nor is one that differs in nothing that users
// see: where a variable lies, the name of a typedef, a static variable.
func TestCompareSame(t *testing.T) {
	first := &File{
		Programs: []Program{{Name: "p", Section: "xdp", Refs: []string{"a", "b", "s"}}},
		Vars: []Var{
			{Section: ".bss", Name: "a", Type: U32},
			{Section: ".bss", Name: "b", Type: Typedef("first_t", U64)},
			{Section: ".bss", Name: "s", Type: U64, Static: true},
		},
	}
	second := &File{
		Programs: []Program{{Name: "p", Section: "xdp", Refs: []string{"a", "b", "s"}}},
		Vars: []Var{
			{Section: ".bss", Name: "s", Type: U32, Static: true},
			{Section: ".bss", Name: "b", Type: Typedef("second_t", U64)},
			{Section: ".bss", Name: "a", Type: Typedef("third_t", U32)},
		},
	}
	for _, tt := range [][2]*File{{before, before}, {after, after}, {first, second}} {
		diff := inspect.Compare(report(t, tt[0]), report(t, tt[1]))
		if text := diff.Text(); len(diff.Changes) > 0 || len(text) > 0 {
			t.Errorf("changes: %s", text)
		}
	}
}

// Values that begin alike are shown from where they do not.
func TestCompareLongValues(t *testing.T) {
	value := func(last byte) *File {
		text := make([]byte, 100)
		for i := range text {
			text[i] = 'a'
		}
		text[90] = last
		return &File{
			Programs: []Program{{Name: "p", Section: "xdp", Refs: []string{"text"}}},
			Vars:     []Var{{Section: ".data", Name: "text", Type: Array(U8, 100), Value: text}},
		}
	}
	diff := inspect.Compare(report(t, value('b')), report(t, value('c')))
	const want = `CONCERNS  CHANGE   WHAT                  OLD                              NEW
behavior  changed  variable text, value  ...6161616162616161616161616161  ...6161616163616161616161616161
`
	if got := string(diff.Text()); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
