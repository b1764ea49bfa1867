package verify

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
)

// settings is an object with constants of all kinds.
func settings(t *testing.T) *loadable {
	t.Helper()
	constant := func(name string, typ btf.Type, value ...byte) Var {
		return Var{Section: ".rodata", Name: name, Type: Const(Volatile(typ)), Value: value}
	}
	char := &btf.Int{Name: "char", Size: 1, Encoding: btf.Signed}
	config := Struct("config", M("mode", Enum("mode", V("MODE_OFF", 0), V("MODE_ON", 3))), M("ports", Array(U16, 3)), M("name", Array(char, 8)))
	file := &File{
		Order: order, License: "GPL", Linked: true,
		Programs: []Program{{Name: "run", Section: "xdp", Refs: []string{"flows", "limit"}}, {Name: "other", Section: "xdp"}},
		Vars: []Var{
			{Section: ".maps", Name: "flows", Type: Map(1, 1<<20, U32, U64)},
			constant("limit", U64),
			constant("level", S32),
			constant("on", &btf.Int{Name: "_Bool", Size: 1, Encoding: btf.Bool}),
			constant("config", config),
			constant("ratio", &btf.Float{Name: "double", Size: 8}),
			{Section: ".rodata", Name: "inner", Type: Const(U32), Static: true},
			{Section: ".data", Name: "counter", Type: U32, Value: []byte{1, 0, 0, 0}},
		},
	}
	return newObject(t, "settings.bpf.o", file)
}

// newObject writes an object and reads it.
func newObject(t *testing.T, name string, file *File) *loadable {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, file.Build(), 0o644); err != nil {
		t.Fatal(err)
	}
	o, err := readObject(path)
	if err != nil {
		t.Fatal(err)
	}
	o.name = name
	return o
}

func TestPreset(t *testing.T) {
	o := settings(t)
	p, err := ParsePreset("small", "small.json", []byte(`{
		"variables": {
			"limit": 18446744073709551615, "level": -7, "on": true, "ratio": 0.5, "inner": "0x10",
			"config": {"mode": "MODE_ON", "name": "eth0"}, "config.ports[2]": 443
		},
		"maps": {"flows": 64}, "programs": ["ru*"]}`))
	if err != nil {
		t.Fatal(err)
	}
	with, used, err := p.apply(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.unused(used, []*loadable{o}); err != nil {
		t.Error(err)
	}
	consts, err := with.constants()
	if err != nil {
		t.Fatal(err)
	}
	bytesOf := func(name string) []byte {
		c := consts.vars[name][0]
		return c.m.Contents[c.info.Offset:][:c.info.Size]
	}
	number := func(v any) []byte {
		data, err := binary.Append(nil, order, v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for name, want := range map[string][]byte{
		"limit": number(^uint64(0)), "level": number(int32(-7)), "on": {1}, "ratio": number(0.5), "inner": number(uint32(16)),
		"config": bytes.Join([][]byte{number(uint32(3)), number([]uint16{0, 0, 443}), []byte("eth0\x00\x00\x00\x00")}, nil),
	} {
		if got := bytesOf(name); !bytes.Equal(got[:min(len(want), len(got))], want) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if with.img.Maps[0].MaxEntries != 64 || !with.chosen["run"] || with.chosen["other"] || !with.chooses {
		t.Errorf("%d entries, programs %v", with.img.Maps[0].MaxEntries, with.chosen)
	}
	if o.img.Maps[0].MaxEntries == 64 {
		t.Error("the object itself has changed")
	}
	// What a preset says of a map's size, nothing else changes.
	if with.prepare(8); with.img.Maps[0].MaxEntries != 64 {
		t.Errorf("a size of the preset became %d", with.img.Maps[0].MaxEntries)
	}
	if notes := o.clone().prepare(8); len(notes) != 1 || notes[0] != "settings.bpf.o: map flows: is made for 8 elements in place of 1048576" {
		t.Errorf("%q", notes)
	}
}

// What bpftool prints of a map .rodata, with -j and without.
func TestDump(t *testing.T) {
	o := settings(t)
	const value = `{".rodata": [{"limit": 5}, {"level": -1}, {"run.____fmt": "x"}, {"config": {"mode": "MODE_ON", "ports": [1, 2, 3], "name": ["e", 0, 0, 0, 0, 0, 0, 0]}}]}`
	for _, text := range []string{
		`[{"value": ` + value + `}]`,
		`[{"key": ["0x00"], "value": ["0x05"], "formatted": {"key": 0, "value": ` + value + `}}]`,
	} {
		p, err := ParsePreset("dump", "dump.json", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		with, used, err := p.apply(o)
		if err != nil {
			t.Error(err)
			continue
		}
		if err := p.unused(used, []*loadable{o}); err != nil {
			t.Error(err)
		}
		consts, _ := with.constants()
		c := consts.vars["config"][0]
		if got := fmt.Sprintf("%x", c.m.Contents[c.info.Offset:][:c.info.Size]); got != "0300000001000200030065000000000000000000"[:len(got)] && !isBigEndian {
			t.Errorf("config is %s", got)
		}
	}
}

func TestBadPresets(t *testing.T) {
	o := settings(t)
	variable := func(text string) string { return `{"variables": {` + text + `}}` }
	for text, want := range map[string]string{
		`{`:                                    "want a preset, an object of JSON",
		`7`:                                    "want an object of JSON",
		`{} {}`:                                "something behind the end",
		`{"vars": {}}`:                         "vars: is no part of a preset: variables, maps and programs are",
		`{"programs": []}`:                     "names none",
		`{"programs": ["["]}`:                  "is not a pattern",
		variable(`"limit": 1, "limit": 2`):     "limit is there twice",
		variable(`"limt": 1`):                  "p.json: variable limt: none of the objects has it: did you mean limit?",
		variable(`"counter": 1`):               "is in section .data, whose values the verifier does not see: declare it const volatile",
		variable(`"limit": -1`):                "variable limit of settings.bpf.o: -1 does not fit: it has 64 bits, without a sign",
		variable(`"level": 2147483648`):        "2147483648 does not fit: it has 32 bits, with a sign",
		variable(`"limit": "many"`):            `want a number, and have "many"`,
		variable(`"limit": [1]`):               "want a number, and have [1]",
		variable(`"on": 2`):                    "is a bool: want true or false, and have 2",
		variable(`"ratio": "x"`):               "want a number",
		variable(`"config": 1`):                "is a struct: want an object of JSON",
		variable(`"config": {"mod": 1}`):       ".mod: has no member mod: did you mean mode?",
		variable(`"config.mode": "MODE_X"`):    `want a number or one of MODE_OFF, MODE_ON, and have "MODE_X"`,
		variable(`"config.ports": [1,2,3,4]`):  "has 3 elements, and the list 4",
		variable(`"config.ports[3]": 1`):       "has 3 elements, and no [3]",
		variable(`"config.ports[x]": 1`):       "want the number of an element: write it between brackets",
		variable(`"config.ports[0": 1`):        "in brackets: end it with ]",
		variable(`"config.ports": 1`):          "is an array: want a list, [...], and have 1",
		variable(`"config.ports": [1, 70000]`): "[1]: 70000 does not fit: it has 16 bits",
		variable(`"config.name": "ethernet"`):  "has 8 bytes, and the text needs 9 with its end",
		variable(`"limit.x": 1`):               "has no members, as it is no struct",
		variable(`"limit[0]": 1`):              "has no elements, as it is no array",
		`{"maps": {"flow": 1}}`:                "map flow: none of the objects has it: did you mean flows?",
		`{"maps": {"flows": 0}}`:               "map flows of settings.bpf.o: 0: want a number of entries: give one from 1 on",
		`{"maps": {"flows": 1e10}}`:            "want a number of entries",
		`{"programs": ["rum"]}`:                "program rum: none of the objects has it: did you mean run?",
		`[]`:                                   "is a dump of a map with 0 elements",
		`[{"value": 1,"formatted":{"value":{".rodata":[{"fl":(unsupported-kind}]}}}]`: "is no JSON, as bpftool cannot print variables of floating point",
		`[{"key":`:                               "want what bpftool -j map dump prints of the map .rodata",
		`[{"value": ["0x00"]}]`:                  "is a dump without types",
		`[{"value": {".rodata": 1}}]`:            "section .rodata",
		`[{"value": {".rodata": [{"gone":1}]}}]`: "variable gone: none of the objects has it",
	} {
		p, err := ParsePreset("p", "p.json", []byte(text))
		if err == nil {
			var used use
			if _, used, err = p.apply(o); err == nil {
				err = p.unused(used, []*loadable{o})
			}
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "p.json: ") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// Bit-fields and members of structs without names.
func TestMembers(t *testing.T) {
	flags := &btf.Struct{Name: "flags", Size: 8, Members: []btf.Member{
		{Name: "low", Type: U32, Offset: 0, BitfieldSize: 3},
		{Name: "high", Type: U32, Offset: 3, BitfieldSize: 5},
		{Type: &btf.Union{Size: 4, Members: []btf.Member{{Name: "word", Type: U32}, {Name: "byte", Type: U8}}}, Offset: 32},
	}}
	data := make([]byte, 8)
	p := location{typ: flags, data: data}
	if err := p.set([]byte(`{"low": 5, "high": 17, "word": 258}`)); err != nil {
		t.Fatal(err)
	}
	want := []byte{5 | 17<<3, 0, 0, 0, 2, 1, 0, 0}
	if isBigEndian {
		want = []byte{5<<5 | 17, 0, 0, 0, 0, 0, 1, 2}
	}
	if !bytes.Equal(data, want) {
		t.Errorf("%v, want %v", data, want)
	}
	if err := p.set([]byte(`{"low": 8}`)); err == nil || !strings.Contains(err.Error(), "8 does not fit: it has 3 bits") {
		t.Errorf("%v", err)
	}
}

// Fields of packed structs, which reach over bytes and are smaller than their types.
func TestPackedBits(t *testing.T) {
	packed := &btf.Struct{Name: "packed", Size: 3, Members: []btf.Member{
		{Name: "a", Type: U8, Offset: 0, BitfieldSize: 4},
		{Name: "b", Type: U32, Offset: 4, BitfieldSize: 12},
		{Name: "c", Type: S32, Offset: 16, BitfieldSize: 5},
	}}
	data := make([]byte, 3)
	p := location{typ: packed, data: data}
	if err := p.set([]byte(`{"a": 9, "b": 2748, "c": -3}`)); err != nil {
		t.Fatal(err)
	}
	want := []byte{0xc9, 0xab, 0x1d}
	if isBigEndian {
		want = []byte{0x9a, 0xbc, 0xe8}
	}
	if !bytes.Equal(data, want) {
		t.Errorf("%x, want %x", data, want)
	}
	// bpftool prints the bits of a negative one.
	if err := p.set([]byte(`{"c": "0x1e"}`)); err != nil || data[2] != map[bool]byte{false: 0x1e, true: 0xf0}[isBigEndian] {
		t.Errorf("%x, %v", data, err)
	}
	if err := p.set([]byte(`{"c": 30}`)); err == nil || !strings.Contains(err.Error(), "30 does not fit: it has 5 bits, with a sign") {
		t.Errorf("%v", err)
	}
	small := location{typ: &btf.Struct{Name: "small", Size: 1, Members: []btf.Member{{Name: "a", Type: U32, BitfieldSize: 3}}}, data: make([]byte, 1)}
	if err := small.set([]byte(`{"a": 5}`)); err != nil || small.data[0] != map[bool]byte{false: 5, true: 5 << 5}[isBigEndian] {
		t.Errorf("%x, %v", small.data, err)
	}
	// Of both byte orders: the field has 10 bits behind 3 others.
	for bigEndian, want := range map[bool]string{false: "0810", true: "1008"} {
		f := location{data: make([]byte, 2), bits: 10, shift: 3}
		if f.storeBits(1<<9|1, bigEndian); fmt.Sprintf("%x", f.data) != want {
			t.Errorf("big-endian %t: %x, want %s", bigEndian, f.data, want)
		}
	}
}

func TestWideNumbers(t *testing.T) {
	wide := func(signed bool) location {
		typ := &btf.Int{Name: "__int128", Size: 16}
		if signed {
			typ.Encoding = btf.Signed
		}
		return location{typ: typ, data: make([]byte, 16)}
	}
	for _, tc := range []struct {
		signed bool
		text   string
		want   string
	}{
		{false, `"0xffffffffffffffff0000000000000001"`, "ffffffffffffffff0000000000000001"},
		{true, `"0xfffffffffffffffffffffffffffffffe"`, "fffffffffffffffffffffffffffffffe"},
		{true, `-2`, "fffffffffffffffffffffffffffffffe"},
		{false, `258`, "00000000000000000000000000000102"},
		{false, `-1`, ""},
		{true, `170141183460469231731687303715884105728`, ""},
		{true, `"many"`, ""},
	} {
		p := wide(tc.signed)
		err := p.set([]byte(tc.text))
		if !isBigEndian {
			slices.Reverse(p.data)
		}
		if got := fmt.Sprintf("%x", p.data); (err != nil) != (tc.want == "") || err == nil && got != tc.want {
			t.Errorf("%s: %s, %v, want %s", tc.text, got, err, tc.want)
		}
	}
}

// Types whose sizes do not fit are no reason to panic.
func TestHostileTypes(t *testing.T) {
	huge := location{typ: &btf.Array{Type: &btf.Struct{Size: 1 << 31}, Nelems: 1<<32 - 1}, data: make([]byte, 8)}
	for _, i := range []int{1, 1 << 31, 1<<32 - 2} {
		if _, err := huge.element(i); err == nil || !strings.Contains(err.Error(), "has types that do not fit its size") {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// Static variables of linked files that have one name are told apart by their order, which
// a dump has.
func TestStaticsOfOneName(t *testing.T) {
	static := func(value byte) Var {
		return Var{Section: ".rodata", Name: "debug", Type: Const(Volatile(U8)), Static: true, Value: []byte{value}}
	}
	o := newObject(t, "linked.bpf.o", &File{Order: order, License: "GPL", Linked: true, Programs: []Program{{Name: "run", Section: "xdp"}}, Vars: []Var{static(1), static(2)}})
	values := func(text string) (string, error) {
		p, err := ParsePreset("p", "p.json", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		with, used, err := p.apply(o)
		if err != nil {
			return "", err
		}
		if err := p.unused(used, []*loadable{o}); err != nil {
			return "", err
		}
		return fmt.Sprint(with.img.Maps[0].Contents[:2]), nil
	}
	if got, err := values(`[{"value": {".rodata": [{"debug": 7}, {"debug": 8}]}}]`); err != nil || got != "[7 8]" {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := values(`[{"value": {".rodata": [{"debug": 7}, {"debug": 8}, {"debug": 9}]}}]`); err == nil {
		t.Error("a third one is taken")
	}
	if _, err := values(`{"variables": {"debug": 7}}`); err == nil || !strings.Contains(err.Error(), "variable debug of linked.bpf.o: 2 variables of linked files are called so: give each a name of its own") {
		t.Errorf("%v", err)
	}
}

// A preset is for the objects of which it chooses programs, and others are loaded as well.
func TestJobs(t *testing.T) {
	write := func(name string, programs ...string) string {
		file := &File{Order: order, License: "GPL", Linked: true, Vars: []Var{{Section: ".rodata", Name: "debug", Type: Const(Volatile(U8)), Value: []byte{1}}}}
		for _, p := range programs {
			file.Programs = append(file.Programs, Program{Name: p, Section: "xdp"})
		}
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, file.Build(), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	preset := func(name, text string) *Preset {
		p, err := ParsePreset(name, "p.json", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	a, b, none := write("a.o", "xdp_a"), write("b.o", "xdp_b"), write("none\x1b.o")
	o := Options{Objects: []string{a, b, none}, Presets: []*Preset{preset("p", `{"variables": {"debug": 2}, "programs": ["xdp_a"]}`)}}
	jobs, _, err := o.jobs()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, j := range jobs {
		got = append(got, filepath.Base(j.object.name)+" "+j.preset)
	}
	if want := []string{"a.o p", "b.o ", "none\x1b.o "}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if note := o.leftOut(jobs[2]); !strings.HasSuffix(note, `none\x1b.o": has no programs`) {
		t.Errorf("%q", note)
	}
	o.Programs = []string{"xdp_?"}
	if note := o.leftOut(jobs[0]); note != "" {
		t.Errorf("%q", note)
	}
	two := write("two.o", "xdp_a", "xdp_b")
	o = Options{Objects: []string{two}, Presets: o.Presets, Programs: []string{"xdp_b"}}
	if jobs, _, err = o.jobs(); err != nil {
		t.Fatal(err)
	}
	if note := o.leftOut(jobs[0]); !strings.HasSuffix(note, "two.o: preset p chooses none of the programs that are asked for") {
		t.Errorf("%q", note)
	}
	for _, tc := range []struct {
		o    Options
		want string
	}{
		{Options{Objects: []string{a, b}, Presets: []*Preset{preset("p", `{"variables": {"debug": 2}, "programs": ["xdp_c"]}`)}}, "variable debug: only objects have it of which the preset chooses no program"},
		{Options{Objects: []string{a, b, filepath.Dir(a) + "/./a.o"}}, "a.o: is given twice"},
		{Options{Objects: []string{a}, Presets: []*Preset{preset("p", "{}"), preset("p", "{}")}}, "preset p: two have the name"},
	} {
		if _, _, err := tc.o.jobs(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v, want %q", err, tc.want)
		}
	}
}
