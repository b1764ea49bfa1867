// Package kernelversion has which version of Linux was the first with a helper, a map
// type or the like, from the table that dev/uapi makes of the header linux/bpf.h of each
// release since 4.1.
package kernelversion

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

//go:embed versions.txt
var table string

// Kind is a list of the header.
type Kind string

const (
	Helper     Kind = "helper"
	MapType    Kind = "map_type"
	ProgType   Kind = "prog_type"
	AttachType Kind = "attach_type"
	// MapFlag is a flag of BPF_MAP_CREATE, by the number of its bit.
	MapFlag Kind = "map_flag"
)

// prefixes are what the names in C begin with, which the table leaves out.
var prefixes = map[Kind]string{
	Helper: "bpf_", MapType: "BPF_MAP_TYPE_", ProgType: "BPF_PROG_TYPE_", AttachType: "BPF_", MapFlag: "BPF_F_",
}

// Fact is what the table has of something.
type Fact struct {
	// Name is that in C: bpf_loop, BPF_MAP_TYPE_HASH.
	Name string
	// Since is the first version of Linux with it, as "5.17".
	Since string
	// Rule is what says so.
	Rule string
}

type key struct {
	kind   Kind
	number int
}

type entry struct{ name, since string }

type contents struct {
	entries        map[key]entry
	oldest, newest string
}

// read reads the table, which is this repository's own: a test reads it.
var read = sync.OnceValue(func() *contents {
	c := &contents{entries: make(map[key]entry)}
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 3 && fields[0] == "releases":
			c.oldest, c.newest = fields[1], fields[2]
		case len(fields) == 4 && fields[0] != "#":
			if n, err := strconv.Atoi(fields[1]); err == nil {
				c.entries[key{Kind(fields[0]), n}] = entry{fields[2], fields[3]}
			}
		}
	}
	return c
})

// Find returns what the table has of a number, and false when it has nothing: the number is
// newer than the table, or is not one of the kernel's.
func Find(kind Kind, number int) (Fact, bool) {
	c := read()
	e, ok := c.entries[key{kind, number}]
	if !ok {
		return Fact{}, false
	}
	rule := "bpf.h of Linux " + e.since
	if e.since == c.oldest {
		rule += ", the oldest that was read"
	}
	return Fact{prefixes[kind] + e.name, e.since, rule}, true
}

// Missing explains why the table has nothing of a number.
func Missing() string {
	return fmt.Sprintf("bpf.h of Linux %s does not have that number", read().newest)
}
