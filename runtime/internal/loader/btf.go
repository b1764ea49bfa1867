package loader

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/rawbtf"
	"github.com/rules-bpf/rules_bpf/runtime/internal/features"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// BTFError is why the object's BTF was not loaded.
type BTFError struct {
	// Err is the kernel's answer.
	Err error
	// Log is the verifier's log of the types, by lines. It is empty when none was requested.
	Log []string
	// LeftOut is true when the load went on without types. Another error, with which this one
	// is joined, may be for the lack of them.
	LeftOut bool
}

// Error shows the end of the log.
func (e *BTFError) Error() string {
	text := "load the object's BTF: "
	if e.LeftOut {
		text = "this may be for lack of the object's BTF, which the kernel has refused: "
	}
	text += e.Err.Error()
	for _, line := range e.Log[max(0, len(e.Log)-shownLines):] {
		text += "\n\t" + line
	}
	return text
}

func (e *BTFError) Unwrap() error { return e.Err }

// loadBTF gives the object's BTF to the kernel: as it is, or without what the kernel turns
// out not to know. Where the kernel takes it in no form and nothing needs it, the load goes
// on without, as libbpf's does.
func (l *load) loadBTF() error {
	features.RemoveMemlock()
	raw := l.object.Image.BTF
	if len(raw) == 0 {
		return l.needsBTF(errors.New("the object has none: compile it with -g"))
	}
	raw, err := l.addContexts(raw)
	if err != nil {
		return err
	}
	fd, err := l.giveBTF(raw, nil)
	if err != nil && !features.IsLack(err) && !features.IsForbidden(err) {
		if raw, err = sanitize(raw, err, l.has); err == nil {
			fd, err = l.giveBTF(raw, nil)
		}
	}
	if err == nil {
		l.btf = fd
		l.undo.Push(l.closeBTF)
		return nil
	}
	if features.IsLack(err) {
		return &BTFError{Err: err}
	}
	l.refused, l.refusal = raw, err
	if needed := l.needsBTF(nil); needed != nil {
		return fmt.Errorf("%w: %w", needed, l.explainBTF())
	}
	return nil
}

func (l *load) closeBTF() error {
	fd := l.btf
	l.btf = -1
	return sys.Close(fd)
}

// giveBTF is BPF_BTF_LOAD, with a log when there is memory for it.
func (l *load) giveBTF(raw, log []byte) (int, error) {
	attr := sys.BTFLoadAttr{BTF: sys.PointerToSlice(raw), Size: uint32(len(raw))}
	if len(log) > 0 {
		attr.Log, attr.LogSize, attr.LogLevel = sys.PointerToSlice(log), uint32(len(log)), 1
	}
	attr.UseToken(l.token.FD)
	return sys.BTFLoad(&attr)
}

const (
	minBTFLog = 64 << 10
	// maxBTFLog is more than the kernel has to say of BTF of 16 MiB, which is the most that
	// it takes.
	maxBTFLog = 1 << 28
)

// explainBTF asks the kernel why it has refused the BTF.
func (l *load) explainBTF() *BTFError {
	e := &BTFError{Err: l.refusal}
	if features.IsForbidden(l.refusal) {
		// The kernel has not looked at the types.
		return e
	}
	for size := minBTFLog; size <= maxBTFLog; size *= 4 {
		log := make([]byte, size)
		fd, err := l.giveBTF(l.refused, log)
		if err == nil {
			// The kernel takes it now: it refused for lack of a resource.
			sys.Close(fd)
			break
		}
		if errors.Is(err, syscall.ENOSPC) {
			continue
		}
		e.Log = logLines(log)
		break
	}
	return e
}

// withBTF adds to the error of a load without BTF why there is none, where that may be the cause.
func (l *load) withBTF(err error) error {
	if l.refusal == nil || !mayLackBTF(err) {
		return err
	}
	e := l.explainBTF()
	e.LeftOut = true
	return errors.Join(err, e)
}

// errNoTypes is for what needs types in the kernel that it has refused.
var errNoTypes = errors.New("the kernel has not taken the types of the object")

// mayLackBTF reports whether the verifier has refused a program or the kernel a map, or
// something needs types.
func mayLackBTF(err error) bool {
	var programs ProgramErrors
	var m *MapError
	return errors.As(err, &programs) && slices.ContainsFunc(programs, func(p *ProgramError) bool { return len(p.Log) > 0 }) ||
		errors.As(err, &m) && errors.Is(m.Err, syscall.EINVAL) ||
		errors.Is(err, errNoTypes)
}

// needsBTF returns an error when something to be loaded cannot do without BTF: it names
// that, and wraps err.
func (l *load) needsBTF(err error) error {
	for _, s := range l.object.StructOps {
		if s.Autocreate {
			return needed("struct_ops map "+s.Name, err)
		}
	}
	for _, m := range l.object.Maps {
		if l.creates(m) && m.needsBTF(l.object) {
			return needed("map "+m.Name, err)
		}
	}
	for _, p := range l.selected {
		if p.Type == ebpf.Extension {
			return needed("program "+p.Name, err)
		}
	}
	return nil
}

func needed(by string, err error) error {
	if err == nil {
		return fmt.Errorf("%s needs the types of the object", by)
	}
	return fmt.Errorf("%s needs the types of the object: %w", by, err)
}

// needsBTF reports whether the kernel makes the map only with its types.
func (m *Map) needsBTF(o *Object) bool {
	switch m.Type {
	case ebpf.SkStorage, ebpf.InodeStorage, ebpf.TaskStorage, ebpf.CgroupStorage:
		return true
	}
	if m.ValueType == 0 {
		return false
	}
	types, err := o.localTypes()
	return err == nil && hasSpecialField(types.At(m.ValueType), maxTypeDepth)
}

// maxTypeDepth bounds how deep fields are looked for: the kernel stops before that.
const maxTypeDepth = 32

// specialStructs are those that the kernel finds in values by their names.
var specialStructs = map[string]bool{
	"bpf_spin_lock": true, "bpf_res_spin_lock": true, "bpf_timer": true, "bpf_wq": true, "bpf_task_work": true,
	"bpf_list_head": true, "bpf_list_node": true, "bpf_rb_root": true, "bpf_rb_node": true, "bpf_refcount": true,
}

// specialTags are those of pointers that the kernel keeps count of.
var specialTags = map[string]bool{"kptr": true, "kptr_untrusted": true, "percpu_kptr": true, "uptr": true}

// hasSpecialField reports whether values of the type have something that the kernel must
// know of: a lock, a timer, a list, a tree, or a kptr.
func hasSpecialField(t rawbtf.Type, depth int) bool {
	t, ok := t.Skip()
	if !ok || depth == 0 {
		return false
	}
	switch t.Kind() {
	case rawbtf.Ptr:
		for tag := t.Elem(); tag.Kind() == rawbtf.TypeTag; tag = tag.Elem() {
			if specialTags[tag.Name()] {
				return true
			}
		}
	case rawbtf.Array:
		elem, _ := t.Array()
		return hasSpecialField(t.In().At(elem), depth-1)
	case rawbtf.Var:
		return hasSpecialField(t.Elem(), depth-1)
	case rawbtf.Struct, rawbtf.Union:
		if specialStructs[t.Name()] {
			return true
		}
		for i := range t.Vlen() {
			if hasSpecialField(t.In().At(t.Member(i).Type), depth-1) {
				return true
			}
		}
	case rawbtf.Datasec:
		for i := range t.Vlen() {
			if hasSpecialField(t.In().At(t.Secinfo(i).Type), depth-1) {
				return true
			}
		}
	}
	return false
}
