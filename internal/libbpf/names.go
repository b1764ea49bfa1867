package libbpf

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:embed api.txt
var names string

// Name is a name that libbpf exports.
type Name struct {
	Name string
	// Version is the version of libbpf that brought it.
	Version string
	// State is one of States.
	State string
	// Text is what State says: names, separated by commas, or a reason.
	Text string
}

// States are the states of a name in api.txt.
var States = []string{"ours", "cilium", "not offered", "not yet"}

// Names returns the names that libbpf exports, in the order of api.txt.
func Names() ([]Name, error) {
	var list []Name
	for line := range strings.Lines(names) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		version, rest, _ := strings.Cut(rest, " ")
		state, text, ok := strings.Cut(rest, ": ")
		if !ok || text == "" {
			return nil, fmt.Errorf("api.txt: %q is not of the form NAME VERSION STATE: TEXT", line)
		}
		list = append(list, Name{name, version, state, text})
	}
	return list, nil
}
