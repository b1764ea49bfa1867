package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// mnemonic is that of the actions that compile BPF C.
const mnemonic = "BpfCompile"

// entry is one of a compilation database, in the form that clang documents.
type entry struct {
	Directory string   `json:"directory"`
	Arguments []string `json:"arguments"`
	File      string   `json:"file"`
}

// actionGraph is what is needed of Bazel's analysis.ActionGraphContainer, as JSON.
type actionGraph struct {
	Artifacts []struct {
		ID             int `json:"id"`
		PathFragmentID int `json:"pathFragmentId"`
	} `json:"artifacts"`
	Actions []struct {
		Mnemonic       string   `json:"mnemonic"`
		Arguments      []string `json:"arguments"`
		InputDepSetIDs []int    `json:"inputDepSetIds"`
	} `json:"actions"`
	DepSets []struct {
		ID                  int   `json:"id"`
		TransitiveDepSetIDs []int `json:"transitiveDepSetIds"`
		DirectArtifactIDs   []int `json:"directArtifactIds"`
	} `json:"depSetOfFiles"`
	PathFragments []struct {
		ID       int    `json:"id"`
		Label    string `json:"label"`
		ParentID int    `json:"parentId"`
	} `json:"pathFragments"`
}

// entriesOf returns an entry for each source of the actions, and for each header of the
// workspace that is an input of one, sorted by file. Where several actions compile a file,
// as for several CPUs, the first counts. root is the directory that actions run in.
func entriesOf(text []byte, workspace, root string) ([]entry, error) {
	var graph actionGraph
	if err := json.Unmarshal(text, &graph); err != nil {
		return nil, fmt.Errorf("what bazel aquery prints: %w", err)
	}
	inputs := newInputs(&graph)
	byFile := make(map[string]entry)
	add := func(command *command, path string, header bool) {
		file := absolute(workspace, root, path)
		if _, ok := byFile[file]; !ok {
			byFile[file] = entry{root, command.with(file, header), file}
		}
	}
	var commands []*command
	var headers [][]string
	for _, a := range graph.Actions {
		if a.Mnemonic != mnemonic {
			continue
		}
		c, err := parseCommand(a.Arguments)
		if err != nil {
			return nil, err
		}
		commands = append(commands, c)
		headers = append(headers, inputs.of(a.InputDepSetIDs))
		add(c, c.source, false)
	}
	// A source that another one includes is compiled by its own action.
	for i, c := range commands {
		for _, path := range headers[i] {
			if inWorkspace(path) {
				add(c, path, true)
			}
		}
	}
	entries := make([]entry, 0, len(byFile))
	for _, e := range byFile {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.File, b.File) })
	return entries, nil
}

// inWorkspace reports whether a path in the execution root is that of a source of the main
// repository.
func inWorkspace(path string) bool {
	return !filepath.IsAbs(path) && !strings.HasPrefix(path, "external/") && !strings.HasPrefix(path, "bazel-out/")
}

// absolute returns the path by which an editor opens a file.
func absolute(workspace, root, path string) string {
	switch {
	case filepath.IsAbs(path):
		return path
	case inWorkspace(path):
		return filepath.Join(workspace, path)
	}
	return filepath.Join(root, path)
}

// command is how clang is run for a source.
type command struct {
	// before and after are the arguments before the source's name and behind it.
	before, after []string
	source        string
}

// parseCommand finds clang's command in an action's, behind "--".
func parseCommand(args []string) (*command, error) {
	at := slices.Index(args, "--")
	if at < 0 {
		return nil, errors.New("an action " + mnemonic + " has no command of clang: is this of another version of rules_bpf?")
	}
	args = args[at+1:]
	at = slices.Index(args, "-c")
	if at < 0 || at+1 >= len(args) {
		return nil, errors.New("an action " + mnemonic + " compiles nothing: is this of another version of rules_bpf?")
	}
	return &command{before: args[:at], after: args[at+2:], source: args[at+1]}, nil
}

// with returns the arguments that compile a file. A header is C, as what includes it is.
func (c *command) with(file string, header bool) []string {
	args := slices.Clone(c.before)
	if header {
		args = append(args, "-x", "c")
	}
	return slices.Concat(args, []string{"-c", file}, c.after)
}

// inputs finds the paths of actions' inputs.
type inputs struct {
	sets  map[int][]int
	files map[int][]string
}

func newInputs(graph *actionGraph) *inputs {
	type fragment struct {
		label  string
		parent int
	}
	fragments := make(map[int]fragment, len(graph.PathFragments))
	for _, f := range graph.PathFragments {
		fragments[f.ID] = fragment{f.Label, f.ParentID}
	}
	paths := make(map[int]string, len(graph.Artifacts))
	for _, a := range graph.Artifacts {
		var labels []string
		// No path is longer than there are parts of paths.
		for id := a.PathFragmentID; id != 0 && len(labels) <= len(fragments); id = fragments[id].parent {
			labels = append(labels, fragments[id].label)
		}
		slices.Reverse(labels)
		paths[a.ID] = strings.Join(labels, "/")
	}
	in := &inputs{make(map[int][]int), make(map[int][]string)}
	for _, d := range graph.DepSets {
		in.sets[d.ID] = d.TransitiveDepSetIDs
		for _, id := range d.DirectArtifactIDs {
			in.files[d.ID] = append(in.files[d.ID], paths[id])
		}
	}
	return in
}

// of returns the paths of sets, each once.
func (in *inputs) of(sets []int) []string {
	var out []string
	seen := make(map[int]bool)
	had := make(map[string]bool)
	for todo := slices.Clone(sets); len(todo) > 0; {
		id := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[id] {
			continue
		}
		seen[id] = true
		for _, path := range in.files[id] {
			if !had[path] {
				had[path] = true
				out = append(out, path)
			}
		}
		todo = append(todo, in.sets[id]...)
	}
	slices.Sort(out)
	return out
}
