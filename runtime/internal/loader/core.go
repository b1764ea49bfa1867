package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sort"

	"github.com/rules-bpf/rules_bpf/internal/core"
	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
)

// localTypes returns the object's BTF.
func (o *Object) localTypes() (*rawbtf.Types, error) {
	if o.types == nil {
		t, err := rawbtf.NewLasting(o.Image.BTF)
		if err != nil {
			return nil, fmt.Errorf("BTF of the object: %w", err)
		}
		o.types = t
	}
	return o.types, nil
}

// coreRelocations calls found with the CO-RE relocations of the functions that are loaded.
func (l *load) coreRelocations(found func(i int, r image.CORE, function uint32)) {
	img := l.object.Image
	for f, used := range l.functions {
		if !used {
			continue
		}
		first, end := img.Functions[f].First, img.Functions[f].First+img.Functions[f].Count
		for i := search(img.CORE, first, coreAt); i < image.Len(img.CORE); i++ {
			r := image.At(img.CORE, i)
			if r.Instruction >= end {
				break
			}
			found(i, r, uint32(f))
		}
	}
}

// coreKernel is where CO-RE relocations look: types that the options give, or the running
// kernel's.
type coreKernel struct {
	l     *load
	given *rawbtf.Types
}

func (k coreKernel) Types() *rawbtf.Types {
	if k.given != nil {
		return k.given
	}
	return k.l.kernel.Types()
}

func (k coreKernel) Modules() []*rawbtf.Types {
	if k.given != nil {
		return nil
	}
	return k.l.kernel.Modules()
}

// unreadable returns an error when some modules could not be looked at.
func (k coreKernel) unreadable() error {
	if k.given != nil {
		return nil
	}
	return k.l.unreadable()
}

// relocateCORE applies the CO-RE relocations to the code of all functions that are loaded.
func (l *load) relocateCORE(code []byte) error {
	var relos []core.Relocation
	l.coreRelocations(func(_ int, r image.CORE, _ uint32) {
		if relos == nil {
			relos = make([]core.Relocation, 0, image.Len(l.object.Image.CORE))
		}
		relos = append(relos, core.Relocation{Kind: core.Kind(r.Kind), Type: r.Type, Access: l.object.text(r.Access)})
	})
	if len(relos) == 0 {
		return nil
	}
	local, err := l.object.localTypes()
	if err != nil {
		return err
	}
	kernel := coreKernel{l: l}
	switch {
	case !slices.ContainsFunc(relos, func(r core.Relocation) bool { return r.Kind != core.TypeIDLocal }):
		// Nothing is looked for.
		kernel.given = local
	case l.opts.KernelTypes != nil:
		if kernel.given, err = rawbtf.New(l.opts.KernelTypes, nil); err != nil {
			return fmt.Errorf("types of the kernel that the options give: %w", err)
		}
	default:
		_, err = l.kernelTypes()
		if errors.Is(err, fs.ErrNotExist) && l.opts.KernelArchive != nil {
			kernel.given, err = l.archived(local, relos)
		}
		if err != nil {
			return err
		}
	}
	l.relocator = core.New(local, kernel, relos)
	var errs []error
	next := 0
	l.coreRelocations(func(i int, r image.CORE, function uint32) {
		relo := relos[next]
		next++
		res, err := l.relocator.Resolve(relo)
		if err == nil {
			err = patchCORE(insnAt(code, r.Instruction), res, i)
		}
		if err != nil {
			err = fmt.Errorf("CO-RE relocation of %s: %w", l.relocator.Describe(relo), err)
			errs = append(errs, l.inLine(function, l.coreLine(i), err))
		}
	})
	if len(errs) > 0 {
		errs = append(errs, kernel.unreadable())
	}
	return errors.Join(errs...)
}

// patchCORE patches an instruction with the result of the CO-RE relocation with an index.
func patchCORE(ins insn, res core.Result, index int) error {
	raw := core.Instruction{Code: ins.op(), Src: ins.src(), Offset: ins.off(), Imm: int64(ins.imm())}
	if ins.isLoad64() {
		raw.Imm = int64(ins.imm64())
		if second := ins.next(); second.op() != 0 || second[1] != 0 || second.off() != 0 {
			return errors.New("its instruction does not have the value of the object's types: build the object again")
		}
	}
	poison, err := res.Patch(&raw)
	switch {
	case err != nil:
		return err
	case poison:
		ins.poison(int32(poisonCORE + index))
		return nil
	}
	ins.setOp(raw.Code)
	ins.setOff(raw.Offset)
	if ins.isLoad64() {
		ins.setImm64(uint64(raw.Imm))
	} else {
		ins.setImm(int32(raw.Imm))
	}
	return nil
}

// relocation returns the CO-RE relocation with an index of the image. It reports false when
// there is none, or none were applied.
func (l *load) relocation(index int) (image.CORE, core.Relocation, bool) {
	img := l.object.Image
	if l.relocator == nil || index < 0 || index >= image.Len(img.CORE) {
		return image.CORE{}, core.Relocation{}, false
	}
	r := image.At(img.CORE, index)
	return r, core.Relocation{Kind: core.Kind(r.Kind), Type: r.Type, Access: l.object.text(r.Access)}, true
}

// missing returns what an instruction needs that a relocation has poisoned, and what the
// kernel has instead.
func (l *load) missing(index int) string {
	_, relo, ok := l.relocation(index)
	if !ok {
		return ""
	}
	text := fmt.Sprintf("needs %s, and %s", l.relocator.Describe(relo), l.relocator.Missing(relo))
	if unreadable := l.unreadable(); l.opts.KernelTypes == nil && unreadable != nil {
		text += fmt.Sprintf(" (%v)", unreadable)
	}
	return text
}

// coreLine returns the line of C of a relocation, empty when it is not known.
func (l *load) coreLine(index int) string {
	r, relo, ok := l.relocation(index)
	if !ok {
		return ""
	}
	img := l.object.Image
	f := sort.Search(len(img.Functions), func(i int) bool { return img.Functions[i].First > r.Instruction }) - 1
	return l.object.lineAbout(uint32(f), r.Instruction, l.relocator.Subject(relo))
}
