package loader

import (
	"errors"
	"fmt"
	"slices"

	"github.com/rules-bpf/rules_bpf/internal/core"
	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/runtime/internal/features"
	"github.com/rules-bpf/rules_bpf/runtime/internal/kernelbtf"
	"github.com/rules-bpf/rules_bpf/runtime/internal/token"
	"github.com/rules-bpf/rules_bpf/runtime/internal/undo"
)

// Open returns the object of the image, with the definitions that are in it.
func Open(img *image.Object) *Object {
	o := &Object{Image: img}
	o.openPrograms()
	// After the programs, which elements of maps refer to.
	o.openMaps()
	o.openStructOps()
	return o
}

// load is one run of Load, and what it has made.
type load struct {
	object *Object
	opts   Options
	// undo takes back what was made: on an error of Load, or by Close.
	undo undo.Stack

	// selected are the programs to be loaded, in the order of the object.
	selected []*Program
	// functions has true for the functions of the image that these programs have the code of.
	functions []bool

	// succeeded is true after Load or Prepare, and complete after Load.
	succeeded, complete bool
	// toPin are the maps to be pinned, and pins those that have been, by earlier attempts too.
	toPin []pin
	pins  *[]madePin

	// token is that which comes with each call that wants capabilities.
	token token.Token
	// btf is the descriptor of the object's BTF in the kernel, -1 when there is none.
	btf int
	// refused is the BTF that the kernel has not taken, and refusal its answer, nil when it
	// has.
	refused []byte
	refusal error
	// contexts are the functions that have another type in BTF for programs of a type, nil
	// where the kernel does not need that.
	contexts map[contextFunc]uint32
	// kernel is the running kernel's BTF, nil until something asks for it. It is closed
	// when Load returns, and stays open between Prepare and Load.
	kernel *kernelbtf.Kernel
	// externs is what the kernel has for those of the image, with the same indices.
	externs []extern
	// targets is what programs are loaded for, by the programs' indices.
	targets []target
	// hashes are those of the programs that have maps for themselves.
	hashes map[*Program][]byte
	// hashing is true when code is assembled for hashes, in which the numbers of maps do not count.
	hashing bool
	// relocator applies CO-RE relocations, nil when there are none.
	relocator *core.Relocator
}

// Load makes what the object defines. On error nothing of it is left, and Load may be
// called again.
//
// Sections with variables that others than their file see are made so that they can be
// mapped (BPF_F_MMAPABLE). Where the kernel lacks that (before Linux 5.5), they are made
// without, and [Map.Mappable] is false.
//
// After Prepare, Load makes the rest with the options given to Prepare. On error what Prepare
// has made stays.
func (o *Object) Load(opts Options) error {
	if o.loaded != nil && !o.loaded.complete {
		return o.loaded.completeLoad()
	}
	return o.attempt(opts, true)
}

// Prepare makes the maps, as Load does, and pins them, so that Load has the rest to make.
func (o *Object) Prepare(opts Options) error { return o.attempt(opts, false) }

func (l *load) preparing() []func() error {
	return []func() error{
		l.openToken,
		l.selectPrograms,
		l.findNames,
		l.loadBTF,
		l.findTargets,
		l.bindExterns,
		l.createMaps,
	}
}

func (l *load) completing() []func() error {
	return []func() error{l.loadPrograms, l.putElements, l.createStructOps}
}

// attempt is Load, or Prepare when it is not to be complete. It begins anew when another
// process has pinned a map meanwhile.
func (o *Object) attempt(opts Options, complete bool) error {
	// An attempt adds what it has pinned, on error too: the next one takes these maps.
	var pins []madePin
	once := func() error {
		l := &load{object: o, opts: opts, btf: -1, pins: &pins, complete: complete}
		// The comment of the package says why in this order.
		steps := l.preparing()
		if complete {
			steps = append(steps, l.completing()...)
		}
		err := l.run(append(steps, l.pinMaps, l.done))
		if complete || err != nil {
			l.closeKernel()
		}
		if err != nil {
			return err
		}
		l.succeeded = true
		o.loaded = l
		return nil
	}
	err := once()
	for n := 0; n < mostPinRaces && errors.Is(err, errPinTaken); n++ {
		err = once()
	}
	if err != nil {
		return errors.Join(err, removePins(pins))
	}
	return nil
}

// run goes through steps, and takes back what they have made when one fails.
func (l *load) run(steps []func() error) error {
	done := l.undo.Len()
	for _, step := range steps {
		if err := step(); err != nil {
			return errors.Join(l.withBTF(err), l.undo.UnwindTo(done))
		}
	}
	return nil
}

// completeLoad is Load after Prepare.
func (l *load) completeLoad() error {
	for _, s := range l.object.StructOps {
		for _, p := range s.Programs {
			if s.Autocreate && p != nil && !slices.Contains(l.selected, p) {
				return &StructOpsError{StructOps: s, Err: fmt.Errorf("program %s was assigned to it after Prepare, which decides what is loaded: assign it before", p.Name)}
			}
		}
	}
	// The tables may have changed since Prepare.
	if err := l.run(append([]func() error{l.prepareStructOps}, l.completing()...)); err != nil {
		return err
	}
	l.closeKernel()
	l.complete = true
	return nil
}

// openToken gets the token, which stays for maps that are made later.
func (l *load) openToken() error {
	t, err := token.Open(l.opts.TokenPath)
	if err != nil {
		return err
	}
	l.token, l.object.Token = t, t
	l.undo.Push(l.token.Close)
	return nil
}

// has reports whether the kernel has a feature. A kernel with tokens, which came with Linux
// 6.9, has all of them; they are not tried there, as the token may not delegate the try.
func (l *load) has(f features.Feature) (bool, error) {
	if l.token.FD != 0 {
		return true, nil
	}
	return features.Has(f)
}

func (l *load) done() error {
	if l.opts.Done == nil {
		return nil
	}
	return l.opts.Done()
}

// Close closes all that Load or Prepare has made. What is pinned stays in the kernel.
func (o *Object) Close() error {
	l := o.loaded
	if l == nil {
		return nil
	}
	o.loaded = nil
	l.closeKernel()
	return l.undo.Unwind()
}
