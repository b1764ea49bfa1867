package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/secdef"
)

// Preset is what a user sets before loading objects: the constants on which it depends what the
// verifier sees. It applies to the objects that have one of the names in it.
type Preset struct {
	Name string
	// file is where it was read from, for messages.
	file string
	// variables are the values by C names, in the order of the file.
	variables []setting
	// maps are max_entries by the names of maps.
	maps []setting
	// programs are names or patterns of those to be loaded, nil for all.
	programs []string
	// dump is true when it is what bpftool has dumped: all of a section, strings and static
	// constants too.
	dump bool
}

type setting struct {
	name  string
	value json.RawMessage
	// section is that of a dump.
	section string
}

// ReadPreset reads a preset from a file: one in the form that [ParsePreset] takes.
func ReadPreset(name, file string) (*Preset, error) {
	data, err := readFile(file)
	if err != nil {
		return nil, err
	}
	return ParsePreset(name, quote.Text(file), data)
}

// ParsePreset reads a preset in one of two forms:
//
//	{"variables": {"max_flows": 1024, "config": {"mode": 1}, "config.ports[0]": 80},
//	 "maps": {"flows": 1024}, "programs": ["xdp_main"]}
//
// and what `bpftool -j map dump` prints of a section .rodata with types. In this one, static
// variables of several linked files that have one name are distinguished by their order in the
// section; the first form cannot name them, and it is an error when it does. file is for
// messages.
func ParsePreset(name, file string, data []byte) (*Preset, error) {
	p := &Preset{Name: name, file: file}
	if err := p.parse(data); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return p, nil
}

func (p *Preset) parse(data []byte) error {
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' {
		p.dump = true
		return p.parseDump(data)
	}
	top, err := object(data)
	if err != nil {
		return fmt.Errorf("want a preset, an object of JSON with variables, maps or programs, or a dump of bpftool -j map dump: %w", err)
	}
	for _, part := range top {
		switch part.name {
		case "variables":
			p.variables, err = object(part.value)
		case "maps":
			p.maps, err = object(part.value)
		case "programs":
			if err = json.Unmarshal(part.value, &p.programs); err == nil && len(p.programs) == 0 {
				err = errors.New("names none: leave it out for all")
			}
			for _, pattern := range p.programs {
				if err == nil {
					err = checkPattern(pattern)
				}
			}
		default:
			err = errors.New("is no part of a preset: variables, maps and programs are")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", quote.Name(part.name), err)
		}
	}
	return nil
}

// parseDump reads [{"value": {".rodata": [{"a": 1}, {"b": 2}]}}], where bpftool -j puts
// the value into "formatted", besides the bytes.
func (p *Preset) parseDump(data []byte) error {
	type entry struct {
		Value     json.RawMessage
		Formatted *struct{ Value json.RawMessage }
	}
	var entries []entry
	if err := json.Unmarshal(data, &entries); err != nil {
		if bytes.Contains(data, []byte(":(unsupported-kind")) {
			return errors.New("is no JSON, as bpftool cannot print variables of floating point (it writes \"unsupported-kind\"): give the values in a preset, {\"variables\": {...}}")
		}
		return fmt.Errorf("want what bpftool -j map dump prints of the map .rodata: %w", err)
	}
	if len(entries) != 1 {
		return fmt.Errorf("is a dump of a map with %d elements, and a section has 1: dump the map of .rodata", len(entries))
	}
	value := entries[0].Value
	if f := entries[0].Formatted; f != nil {
		value = f.Value
	}
	sections, err := object(value)
	if err != nil {
		return errors.New("is a dump without types: dump the map of .rodata of an object that was compiled with -g, with bpftool -j map dump")
	}
	for _, s := range sections {
		var list []json.RawMessage
		if err := json.Unmarshal(s.value, &list); err != nil {
			return fmt.Errorf("section %s: %w", quote.Name(s.name), err)
		}
		for _, item := range list {
			variables, err := object(item)
			if err != nil {
				return fmt.Errorf("section %s: %w", quote.Name(s.name), err)
			}
			for _, v := range variables {
				v.section = s.name
				p.variables = append(p.variables, v)
			}
		}
	}
	return nil
}

// object returns the members of a JSON object in their order. One that is there twice is an
// error.
func object(data []byte) ([]setting, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	if token != json.Delim('{') {
		return nil, errors.New("want an object of JSON, {...}")
	}
	var list []setting
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		s := setting{name: token.(string)}
		if err := d.Decode(&s.value); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(list, func(other setting) bool { return other.name == s.name }) {
			return nil, fmt.Errorf("%s is there twice", quote.Name(s.name))
		}
		list = append(list, s)
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something behind the end of the object")
	}
	return list, nil
}

// constants are the variables of the read-only sections of an object.
type constants struct {
	img   *image.Object
	types *btf.Spec
	// vars are in the order of the sections and of the variables in them: static ones of
	// linked files can have one name.
	vars map[string][]constant
}

// find returns the variable that a setting is for: the nth of its name in the section that a
// dump says. It fails when a name that comes without a section is one of several.
func (c *constants) find(name, section string, n int) (constant, bool, error) {
	all := c.vars[name]
	if section == "" {
		if len(all) > 1 {
			return constant{}, false, fmt.Errorf("%d variables of linked files are called so: give each a name of its own, or load a dump of bpftool, which has all of them in their order", len(all))
		}
		n = 0
	} else if in := slices.DeleteFunc(slices.Clone(all), func(v constant) bool { return v.m.Name != section }); len(in) > 0 {
		all = in
	}
	if n >= len(all) {
		return constant{}, false, nil
	}
	return all[n], true, nil
}

// constant is where a variable is, and of which type.
type constant struct {
	m    *image.Map
	info btf.VarSecinfo
	typ  btf.Type
}

func (o *loadable) constants() (*constants, error) {
	c := &constants{img: o.img, vars: make(map[string][]constant)}
	if len(o.img.BTF) == 0 {
		return c, nil
	}
	types, err := btf.LoadSpecFromReader(bytes.NewReader(o.img.BTF))
	if err != nil {
		return nil, fmt.Errorf("types: %w", err)
	}
	c.types = types
	for i := range o.img.Maps {
		m := &o.img.Maps[i]
		if m.Kind != image.RodataMap {
			continue
		}
		var section *btf.Datasec
		if types.TypeByName(m.Name, &section) != nil {
			continue
		}
		for _, info := range section.Vars {
			if v, ok := info.Type.(*btf.Var); ok && uint64(info.Offset)+uint64(info.Size) <= uint64(m.ValueSize) {
				c.vars[v.Name] = append(c.vars[v.Name], constant{m, info, v.Type})
			}
		}
	}
	return c, nil
}

// use is which names of a preset an object has.
type use struct{ variables, maps, programs []bool }

func (p *Preset) newUse() use {
	return use{make([]bool, len(p.variables)), make([]bool, len(p.maps)), make([]bool, len(p.programs))}
}

func (u use) any() bool {
	return slices.Contains(u.variables, true) || slices.Contains(u.maps, true) || slices.Contains(u.programs, true)
}

// or adds the names that another object has.
func (u use) or(other use) {
	for _, pair := range [][2][]bool{{u.variables, other.variables}, {u.maps, other.maps}, {u.programs, other.programs}} {
		for n, used := range pair[1] {
			pair[0][n] = pair[0][n] || used
		}
	}
}

// isEmpty reports whether the preset changes nothing, and so is for all objects.
func (p *Preset) isEmpty() bool { return len(p.variables)+len(p.maps)+len(p.programs) == 0 }

// baseName returns the variable of a way to a part of it: config.ports[0].
func baseName(way string) string {
	if end := strings.IndexAny(way, ".["); end > 0 {
		return way[:end]
	}
	return way
}

// apply returns the object with the preset's values, and which of its names the object has.
// The object stays as it is.
func (p *Preset) apply(o *loadable) (*loadable, use, error) {
	used := p.newUse()
	with := o.clone()
	consts, err := with.constants()
	if err != nil {
		return nil, used, err
	}
	type location struct{ section, name string }
	before := make(map[location]int)
	for i, s := range p.variables {
		name, at := s.name, location{s.section, s.name}
		v, ok, err := consts.find(name, s.section, before[at])
		before[at]++
		if err == nil && !ok && !p.dump {
			v, ok, err = consts.find(baseName(name), "", 0)
		}
		if err != nil {
			return nil, used, fmt.Errorf("%s: variable %s of %s: %w", p.file, quote.Name(name), quote.Text(o.name), err)
		}
		if !ok {
			if where := with.otherVariable(baseName(name)); where != "" && !p.dump {
				return nil, used, fmt.Errorf("%s: variable %s of %s: is in section %s, whose values the verifier does not see: declare it const volatile, or take it out of the preset", p.file, quote.Name(name), quote.Text(o.name), quote.Name(where))
			}
			continue
		}
		used.variables[i] = true
		if err := v.set(name, s.value); err != nil {
			return nil, used, fmt.Errorf("%s: variable %s of %s: %w", p.file, quote.Name(name), quote.Text(o.name), err)
		}
	}
	for i, s := range p.maps {
		at := slices.IndexFunc(with.img.Maps, func(m image.Map) bool { return m.Name == s.name && m.Kind == image.DeclaredMap })
		if at < 0 {
			continue
		}
		used.maps[i] = true
		var n uint32
		if err := json.Unmarshal(s.value, &n); err != nil || n == 0 {
			return nil, used, fmt.Errorf("%s: map %s of %s: %s: want a number of entries: give one from 1 on", p.file, quote.Name(s.name), quote.Text(o.name), quote.Text(string(s.value)))
		}
		with.img.Maps[at].MaxEntries = n
		with.sized[s.name] = true
	}
	for i, pattern := range p.programs {
		for _, prog := range o.img.Programs {
			if matches(pattern, o.name, prog.Name) {
				used.programs[i] = true
				with.chosen[prog.Name] = true
			}
		}
	}
	with.chooses = len(p.programs) > 0
	return with, used, nil
}

// otherVariable returns the section of a variable that is not read-only, empty when there is
// none.
func (o *loadable) otherVariable(name string) string {
	for _, v := range o.img.Variables {
		if v.Name == name && v.Map != image.NoIndex && o.img.Maps[v.Map].Kind != image.RodataMap {
			return o.img.Maps[v.Map].Name
		}
	}
	return ""
}

// unused returns an error for a name of the preset that none of the objects has.
func (p *Preset) unused(u use, objects []*loadable) error {
	var variables, maps, programs []string
	for _, o := range objects {
		if consts, err := o.constants(); err == nil {
			for name := range consts.vars {
				variables = append(variables, name)
			}
		}
		for _, m := range o.img.Maps {
			if m.Kind == image.DeclaredMap {
				maps = append(maps, m.Name)
			}
		}
		for _, prog := range o.img.Programs {
			programs = append(programs, prog.Name)
		}
	}
	fail := func(what, name string, known []string) error {
		if slices.Contains(known, name) {
			return fmt.Errorf("%s: %s %s: only objects have it of which the preset chooses no program: take it out, or name a program of them", p.file, what, quote.Name(name))
		}
		slices.Sort(known)
		known = slices.Compact(known)
		for i := range known {
			known[i] = quote.Name(known[i])
		}
		hint := "they have none"
		if closest := secdef.Closest(name, known...); closest != "" {
			hint = "did you mean " + closest + "?"
		} else if len(known) > 0 {
			hint = "they have " + strings.Join(known, ", ")
		}
		return fmt.Errorf("%s: %s %s: none of the objects has it: %s", p.file, what, quote.Name(name), hint)
	}
	for i, s := range p.variables {
		// A dump has strings and what another build of the object had.
		if !u.variables[i] && !(p.dump && strings.Contains(s.name, ".")) {
			return fail("variable", s.name, variables)
		}
	}
	for i, s := range p.maps {
		if !u.maps[i] {
			return fail("map", s.name, maps)
		}
	}
	for i, pattern := range p.programs {
		if !u.programs[i] {
			return fail("program", pattern, programs)
		}
	}
	return nil
}

// set sets the variable, or the part of it that way leads to, to a value of JSON.
func (c constant) set(way string, value json.RawMessage) error {
	m := c.m
	if m.Contents == nil {
		m.Contents = make([]byte, m.ValueSize)
	}
	data := m.Contents[c.info.Offset:][:c.info.Size]
	at := location{typ: c.typ, data: data}
	if name := c.info.Type.(*btf.Var).Name; way != name {
		var err error
		if at, err = at.follow(way[len(name):]); err != nil {
			return err
		}
	}
	return at.set(value)
}

// location is where a value of a type is.
type location struct {
	typ  btf.Type
	data []byte
	// bits is how many a bit-field has, 0 for all else, and shift where it begins in the data,
	// the bytes that it covers: from the lowest bit of the first on, or from its highest where
	// that byte is the most significant, as BTF counts.
	bits, shift uint32
}

// follow goes a way of .member and [index].
func (p location) follow(way string) (location, error) {
	for way != "" {
		end := strings.IndexAny(way[1:], ".[") + 1
		if end == 0 {
			end = len(way)
		}
		part := way[:end]
		way = way[end:]
		var err error
		switch {
		case part[0] == '.':
			p, err = p.member(part[1:])
		case strings.HasSuffix(part, "]"):
			var n uint64
			if n, err = strconv.ParseUint(part[1:len(part)-1], 10, 32); err != nil {
				return location{}, fmt.Errorf("%s: want the number of an element: write it between brackets, as in [0]", quote.Text(part))
			}
			p, err = p.element(int(n))
		default:
			err = fmt.Errorf("%s: want the number of an element in brackets: end it with ]", quote.Text(part))
		}
		if err != nil {
			return location{}, err
		}
	}
	return p, nil
}

// members returns the members of a struct or a union, nil for other types.
func members(t btf.Type) ([]btf.Member, bool) {
	switch t := t.(type) {
	case *btf.Struct:
		return t.Members, true
	case *btf.Union:
		return t.Members, true
	}
	return nil, false
}

// maxDepth is how deep structs without names may lie in each other.
const maxDepth = 32

// member returns the location of a member, also of one in a member without a name.
func (p location) member(name string) (location, error) {
	list, ok := members(btf.UnderlyingType(p.typ))
	if !ok {
		return location{}, fmt.Errorf("has no members, as it is no struct: there is no .%s", quote.Name(name))
	}
	if found, ok := p.find(list, name, 0); ok {
		return found, nil
	}
	var names []string
	for _, m := range list {
		if m.Name != "" {
			names = append(names, quote.Name(m.Name))
		}
	}
	hint := "it has " + strings.Join(names, ", ")
	if closest := secdef.Closest(name, names...); closest != "" {
		hint = "did you mean " + closest + "?"
	}
	return location{}, fmt.Errorf("has no member %s: %s", quote.Name(name), hint)
}

func (p location) find(list []btf.Member, name string, depth int) (location, bool) {
	for _, m := range list {
		size, err := btf.Sizeof(m.Type)
		offset := int(m.Offset / 8)
		bits, shift := uint32(m.BitfieldSize), uint32(0)
		if bits > 0 {
			// A packed struct can be smaller than the field's type.
			shift = uint32(m.Offset) % 8
			size = int((shift + bits + 7) / 8)
		}
		if err != nil || offset < 0 || size < 0 || size > len(p.data) || offset > len(p.data)-size {
			continue
		}
		at := location{m.Type, p.data[offset:][:size], bits, shift}
		if m.Name == name {
			return at, true
		}
		if inner, ok := members(btf.UnderlyingType(m.Type)); ok && m.Name == "" && depth < maxDepth {
			if found, ok := at.find(inner, name, depth+1); ok {
				return found, true
			}
		}
	}
	return location{}, false
}

func (p location) element(i int) (location, error) {
	array, ok := btf.UnderlyingType(p.typ).(*btf.Array)
	if !ok {
		return location{}, fmt.Errorf("has no elements, as it is no array: there is no [%d]", i)
	}
	if uint64(i) >= uint64(array.Nelems) {
		return location{}, fmt.Errorf("has %d elements, and no [%d]", array.Nelems, i)
	}
	size, err := btf.Sizeof(array.Type)
	if err != nil {
		return location{}, err
	}
	if size < 0 || size > 0 && i >= len(p.data)/size {
		return location{}, errors.New("has types that do not fit its size: compile the object again")
	}
	return location{typ: array.Type, data: p.data[i*size:][:size]}, nil
}

// set sets the value. Members and elements that JSON does not have stay as they are.
func (p location) set(value json.RawMessage) error {
	switch t := btf.UnderlyingType(p.typ).(type) {
	case *btf.Struct, *btf.Union:
		list, err := object(value)
		if err != nil {
			return fmt.Errorf("is a struct: %w", err)
		}
		for _, s := range list {
			m, err := p.member(s.name)
			if err == nil {
				err = m.set(s.value)
			}
			if err != nil {
				return fmt.Errorf(".%s: %w", quote.Name(s.name), err)
			}
		}
		return nil
	case *btf.Array:
		return p.setArray(t, value)
	case *btf.Int:
		return p.setInt(t.Encoding == btf.Signed, t.Encoding == btf.Bool, value)
	case *btf.Enum:
		var name string
		if json.Unmarshal(value, &name) == nil {
			for _, v := range t.Values {
				if v.Name == name {
					return p.store(v.Value)
				}
			}
		}
		return p.setInt(t.Signed, false, value)
	case *btf.Pointer:
		return p.setInt(false, false, value)
	case *btf.Float:
		return p.setFloat(value)
	}
	return fmt.Errorf("is of a kind (%v) that cannot be set: take it out of the preset", p.typ)
}

func (p location) setArray(t *btf.Array, value json.RawMessage) error {
	var text string
	if json.Unmarshal(value, &text) == nil {
		if elem, ok := btf.UnderlyingType(t.Type).(*btf.Int); ok && elem.Size == 1 {
			if len(text) >= len(p.data) {
				return fmt.Errorf("has %d bytes, and the text needs %d with its end", len(p.data), len(text)+1)
			}
			clear(p.data)
			copy(p.data, text)
			return nil
		}
	}
	var list []json.RawMessage
	if err := json.Unmarshal(value, &list); err != nil {
		return fmt.Errorf("is an array: want a list, [...], and have %s", short(value))
	}
	if len(list) > int(t.Nelems) {
		return fmt.Errorf("has %d elements, and the list %d", t.Nelems, len(list))
	}
	for i, v := range list {
		e, err := p.element(i)
		if err == nil {
			err = e.set(v)
		}
		if err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}
	}
	return nil
}

// short returns a value for a message.
func short(value json.RawMessage) string {
	const most = 40
	text := string(value)
	if len(text) > most {
		text = text[:most] + "..."
	}
	return quote.Text(text)
}

// setInt sets a number: one of JSON, "0x10" in a text as bpftool writes some, a truth or a
// letter of char.
func (p location) setInt(signed, isBool bool, value json.RawMessage) error {
	width := p.bits
	if width == 0 {
		width = uint32(len(p.data)) * 8
	}
	text := string(value)
	var inText string
	switch {
	case text == "true":
		text = "1"
	case text == "false", text == "null":
		text = "0"
	case json.Unmarshal(value, &inText) == nil:
		text = inText
		if p.bits == 0 && len(p.data) == 1 && len(inText) == 1 && (inText[0] < '0' || inText[0] > '9') {
			// bpftool prints a char as one.
			return p.store(uint64(inText[0]))
		}
	}
	raw := strings.HasPrefix(text, "0x") && inText != ""
	switch {
	case width == 128 && p.bits == 0:
		return p.setWide(signed && !raw, text, value)
	case width > 64:
		return fmt.Errorf("has %d bits, which no number has: take it out of the preset", width)
	case raw && p.bits > 0:
		// bpftool prints the bits, and no sign.
		signed = false
	}
	if isBool && text != "0" && text != "1" {
		return fmt.Errorf("is a bool: want true or false, and have %s", short(value))
	}
	if signed {
		n, err := strconv.ParseInt(text, 0, int(width))
		if err != nil {
			return p.noNumber(value, err, signed, width)
		}
		return p.store(uint64(n))
	}
	n, err := strconv.ParseUint(text, 0, int(width))
	if err != nil {
		return p.noNumber(value, err, signed, width)
	}
	return p.store(n)
}

// setWide sets a number of 128 bits.
func (p location) setWide(signed bool, text string, value json.RawMessage) error {
	n, ok := new(big.Int).SetString(text, 0)
	if !ok {
		return p.noNumber(value, strconv.ErrSyntax, signed, 128)
	}
	lowest, highest := new(big.Int), new(big.Int).Lsh(big.NewInt(1), 128)
	if signed {
		highest.Rsh(highest, 1)
		lowest.Neg(highest)
	}
	if n.Cmp(lowest) < 0 || n.Cmp(highest) >= 0 {
		return p.noNumber(value, strconv.ErrRange, signed, 128)
	}
	// The bits of a negative number are those of 2 to the power of 128 more.
	if n.Sign() < 0 {
		n.Add(n, new(big.Int).Lsh(big.NewInt(1), 128))
	}
	n.FillBytes(p.data)
	if !isBigEndian {
		slices.Reverse(p.data)
	}
	return nil
}

func (p location) noNumber(value json.RawMessage, err error, signed bool, width uint32) error {
	kind := "without a sign"
	if signed {
		kind = "with a sign"
	}
	if errors.Is(err, strconv.ErrRange) || strings.HasPrefix(string(value), "-") {
		return fmt.Errorf("%s does not fit: it has %d bits, %s", short(value), width, kind)
	}
	what := "a number"
	if e, ok := btf.UnderlyingType(p.typ).(*btf.Enum); ok {
		var names []string
		for _, v := range e.Values {
			names = append(names, quote.Name(v.Name))
		}
		what = "a number or one of " + strings.Join(names, ", ")
	}
	return fmt.Errorf("want %s, and have %s", what, short(value))
}

func (p location) setFloat(value json.RawMessage) error {
	n, err := strconv.ParseFloat(string(value), len(p.data)*8)
	if err != nil {
		return fmt.Errorf("want a number, and have %s", short(value))
	}
	switch len(p.data) {
	case 4:
		return p.store(uint64(math.Float32bits(float32(n))))
	case 8:
		return p.store(math.Float64bits(n))
	}
	return fmt.Errorf("is a floating point number of %d bytes: take it out of the preset", len(p.data))
}

// store writes the number, in the byte order of this machine.
func (p location) store(n uint64) error {
	if p.bits > 0 {
		p.storeBits(n, isBigEndian)
		return nil
	}
	switch len(p.data) {
	case 1:
		p.data[0] = byte(n)
	case 2:
		order.PutUint16(p.data, uint16(n))
	case 4:
		order.PutUint32(p.data, uint32(n))
	case 8:
		order.PutUint64(p.data, n)
	default:
		return fmt.Errorf("has %d bytes, which no number has: take it out of the preset", len(p.data))
	}
	return nil
}

// storeBits writes the number into a bit-field, which may reach over several bytes.
func (p location) storeBits(n uint64, bigEndian bool) {
	for i := range p.bits {
		// BTF counts from the most significant bit where the first byte is the most significant.
		at, bit := p.shift+i, n>>i&1
		mask := byte(1) << (at % 8)
		if bigEndian {
			bit = n >> (p.bits - 1 - i) & 1
			mask = 0x80 >> (at % 8)
		}
		p.data[at/8] &^= mask
		if bit != 0 {
			p.data[at/8] |= mask
		}
	}
}
