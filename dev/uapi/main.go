// Uapi writes the table of the first versions of Linux that have a helper, a map type, a
// program type, an attach type or a flag of maps, which bpfgen inspect reads:
//
//	go run ./dev/uapi 4.1=DIR/4.1.h ... 7.1=DIR/7.1.h > tool/internal/kernelversion/versions.txt
//
// The arguments are the versions of releases, and the header linux/bpf.h of each: that of
// the kernel's sources (git show v6.1:include/uapi/linux/bpf.h), or the copy that
// iproute2's release of the same number has. What the oldest has may be older.
package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "uapi:", err)
		os.Exit(1)
	}
}

// release is a release of the kernel.
type release struct {
	version, file string
}

// key orders versions.
func key(version string) (int, error) {
	major, minor, ok := strings.Cut(version, ".")
	x, err := strconv.Atoi(major)
	y, minorErr := strconv.Atoi(minor)
	if !ok || err != nil || minorErr != nil {
		return 0, fmt.Errorf("%s: is not a version: want two numbers, as 6.1", version)
	}
	return x<<16 | y, nil
}

func run(args []string, out io.Writer) error {
	keys := make(map[string]int)
	var releases []release
	for _, arg := range args {
		version, file, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%s: want VERSION=FILE", arg)
		}
		var err error
		if keys[version], err = key(version); err != nil {
			return err
		}
		releases = append(releases, release{version, file})
	}
	if len(releases) == 0 {
		return fmt.Errorf("no headers given: want VERSION=FILE, several")
	}
	slices.SortFunc(releases, func(a, b release) int { return cmp.Compare(keys[a.version], keys[b.version]) })
	first := make(map[fact]string)
	for _, r := range releases {
		header, err := os.ReadFile(r.file)
		if err != nil {
			return err
		}
		facts, err := parse(string(header))
		if err != nil {
			return fmt.Errorf("%s: %w", r.file, err)
		}
		for _, f := range facts {
			if !slices.ContainsFunc(slices.Collect(maps.Keys(first)), f.same) {
				first[f] = r.version
			}
		}
	}
	fmt.Fprintf(out, "# Written by dev/uapi. Do not edit.\nreleases %s %s\n", releases[0].version, releases[len(releases)-1].version)
	for _, f := range slices.SortedFunc(maps.Keys(first), fact.compare) {
		fmt.Fprintf(out, "%s %d %s %s\n", f.kind, f.number, f.name, first[f])
	}
	return nil
}

// fact is something that a header has.
type fact struct {
	kind   string
	number int
	name   string
}

// same reports whether another header has the same under the same number: names were
// changed, numbers never are.
func (f fact) same(other fact) bool { return f.kind == other.kind && f.number == other.number }

func (f fact) compare(other fact) int {
	return cmp.Or(cmp.Compare(f.kind, other.kind), cmp.Compare(f.number, other.number))
}

var (
	comment = regexp.MustCompile(`(?s)/\*.*?\*/`)
	// mapper is the list of helpers, since Linux 4.14: a macro, one line or more.
	mapper = regexp.MustCompile(`(?m)^#define _+BPF_FUNC_MAPPER\(FN[^)]*\)((?:.*\\\n)*.*\n)`)
	// helper is one of them. Its number is there since 6.0.
	helper  = regexp.MustCompile(`FN\((\w+)(?:,\s*([0-9]+))?`)
	mapFlag = regexp.MustCompile(`(?m)^\s*(?:#define\s+)?(BPF_F_\w+)\s*=?\s*\(1U << ([0-9]+)\)`)
)

// enums are those of the table, and what the names of their constants begin with.
var enums = []struct{ kind, name, prefix string }{
	{"prog_type", "bpf_prog_type", "BPF_PROG_TYPE_"},
	{"map_type", "bpf_map_type", "BPF_MAP_TYPE_"},
	{"attach_type", "bpf_attach_type", "BPF_"},
}

// mapFlags are the flags of BPF_MAP_CREATE, whose bits mean something else in other calls.
var mapFlags = []string{
	"NO_PREALLOC", "NO_COMMON_LRU", "NUMA_NODE", "RDONLY", "WRONLY", "STACK_BUILD_ID", "ZERO_SEED", "RDONLY_PROG", "WRONLY_PROG",
	"CLONE", "MMAPABLE", "PRESERVE_ELEMS", "INNER_MAP", "LINK", "VTYPE_BTF_OBJ_FD", "TOKEN_FD", "SEGV_ON_FAULT", "NO_USER_CONV",
	"RB_OVERWRITE",
}

// parse returns what a header has.
func parse(header string) ([]fact, error) {
	header = comment.ReplaceAllString(header, "")
	var facts []fact
	for _, e := range enums {
		values, err := enum(header, e.name)
		if err != nil {
			return nil, err
		}
		for _, v := range values {
			if name, ok := strings.CutPrefix(v.name, e.prefix); ok && name != "UNSPEC" {
				facts = append(facts, fact{e.kind, v.value, name})
			}
		}
	}
	helpers, err := helpers(header)
	if err != nil {
		return nil, err
	}
	facts = append(facts, helpers...)
	for _, m := range mapFlag.FindAllStringSubmatch(header, -1) {
		bit, err := strconv.Atoi(m[2])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m[1], err)
		}
		if name := strings.TrimPrefix(m[1], "BPF_F_"); slices.Contains(mapFlags, name) {
			facts = append(facts, fact{"map_flag", bit, name})
		}
	}
	return facts, nil
}

// helpers returns the helpers of a header.
func helpers(header string) ([]fact, error) {
	var facts []fact
	list := mapper.FindStringSubmatch(header)
	if list == nil {
		values, err := enum(header, "bpf_func_id")
		if err != nil {
			return nil, err
		}
		for _, v := range values {
			if name, ok := strings.CutPrefix(v.name, "BPF_FUNC_"); ok && name != "unspec" {
				facts = append(facts, fact{"helper", v.value, name})
			}
		}
		return facts, nil
	}
	for i, m := range helper.FindAllStringSubmatch(list[1], -1) {
		if m[2] != "" {
			n, err := strconv.Atoi(m[2])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", m[1], err)
			}
			i = n
		}
		if m[1] != "unspec" {
			facts = append(facts, fact{"helper", i, m[1]})
		}
	}
	return facts, nil
}

// constant is a constant of an enum.
type constant struct {
	name  string
	value int
}

// enum returns the constants of an enum that is not empty.
func enum(header, name string) ([]constant, error) {
	_, body, ok := strings.Cut(header, "enum "+name+" {")
	body, _, closed := strings.Cut(body, "}")
	if !ok || !closed {
		// The list of attach types came in 4.10.
		if name == "bpf_attach_type" {
			return nil, nil
		}
		return nil, fmt.Errorf("has no enum %s: give linux/bpf.h of the UAPI", name)
	}
	known := make(map[string]int)
	var constants []constant
	next := 0
	for item := range strings.SplitSeq(body, ",") {
		label, value, isSet := strings.Cut(item, "=")
		label, value = strings.TrimSpace(label), strings.TrimSpace(value)
		if label == "" {
			continue
		}
		if isSet {
			n, err := strconv.ParseInt(value, 0, 32)
			if other, ok := known[value]; ok {
				n = int64(other)
			} else if err != nil {
				return nil, fmt.Errorf("enum %s: %s: has the value %q, which is neither a number nor one of the enum", name, label, value)
			}
			next = int(n)
		}
		known[label] = next
		constants = append(constants, constant{label, next})
		next++
	}
	return slices.DeleteFunc(constants, func(c constant) bool { return strings.HasPrefix(c.name, "__") }), nil
}
