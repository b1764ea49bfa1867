//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/rules-bpf/rules_bpf/internal/differential"
	"github.com/rules-bpf/rules_bpf/internal/differential/ours"
	"github.com/rules-bpf/rules_bpf/internal/libbpf"
	"github.com/rules-bpf/rules_bpf/tool/elfimage"
)

// loads are the results of loading objects with libbpf and with the runtime.
type loads struct {
	version string // libbpf's
	// objects are whole ones, programs those that were loaded one by one.
	objects, programs counts
	// differences have no line in the file of those that are accepted, and stale are the
	// lines of it that no longer apply.
	differences []exception
	stale       []string
}

// counts are of objects that libbpf loads, of those among them that the runtime loads too,
// and for which the kernel then has the same, and of those that only the runtime loads.
type counts struct {
	libbpf, both, equal, ours int
}

func (n *counts) add(r *differential.Result) {
	switch {
	case r.Libbpf == nil:
		n.libbpf++
		if r.Ours == nil {
			n.both++
		}
		if len(r.Differences) == 0 {
			n.equal++
		}
	case r.Ours == nil:
		n.ours++
	}
}

// comparison loads objects.
type comparison struct {
	libbpf   differential.Side
	accepted *differential.Accepted
	// each is true when the programs of an object that libbpf does not load are loaded one
	// by one.
	each  bool
	loads *loads
}

// loadAll loads every object.
func (c *corpus) loadAll() error {
	directory, err := os.MkdirTemp("", "corpus")
	if err != nil {
		return err
	}
	defer os.RemoveAll(directory)
	program := filepath.Join(directory, "libbpf")
	if err := libbpf.Build(program); err != nil {
		return err
	}
	reference, err := libbpf.Open(program)
	if err != nil {
		return err
	}
	accepted, err := readAccepted(c.acceptedFile)
	if err != nil {
		return err
	}
	c.loads.version = reference.Version
	run := &comparison{reference.Command, accepted, c.each, &c.loads}
	var names []string
	for _, object := range c.paths {
		if err := run.object(object); err != nil {
			return fmt.Errorf("%s: %w", object, err)
		}
		names = append(names, filepath.Base(object))
	}
	c.loads.stale = accepted.Stale(names)
	return nil
}

func readAccepted(name string) (*differential.Accepted, error) {
	var text []byte
	if name != "" {
		var err error
		if text, err = os.ReadFile(name); err != nil {
			return nil, err
		}
	}
	release, err := differential.Release()
	if err != nil {
		return nil, err
	}
	accepted, err := differential.ParseAccepted(string(text), release)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return accepted, nil
}

// serveEnv makes this program the process that loads the object of its arguments, or one
// program of it, with the runtime.
const serveEnv = "CORPUS_SERVE"

func command(object, program string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", object, program)
	cmd.Env = append(os.Environ(), serveEnv+"=1")
	return cmd
}

func serve(object, program string) error {
	img, err := elfimage.ReadFile(object)
	if err != nil {
		return ours.Refuse(err)
	}
	return ours.Serve(img, program)
}

func (c *comparison) object(object string) error {
	r, err := differential.Object(c.libbpf, command, object, "")
	if err != nil {
		return err
	}
	c.loads.objects.add(r)
	c.note(object, r.Differences)
	if r.Libbpf == nil || !c.each {
		return nil
	}
	for _, p := range r.Libbpf.Loaded.Programs {
		r, err := differential.Object(c.libbpf, command, object, p.Name)
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		c.loads.programs.add(r)
		c.note(object, r.Differences)
	}
	return nil
}

func (c *comparison) note(object string, differences []differential.Difference) {
	for _, d := range c.accepted.Take(filepath.Base(object), differences) {
		c.loads.differences = append(c.loads.differences, exception{object, fmt.Errorf("%s: %s", d.Of, d.Text)})
	}
}
