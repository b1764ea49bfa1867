package skeleton

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/runtime/internal/attach"
)

// AttachState is how far a program or a struct_ops map is on its way from open to attached.
type AttachState int

const (
	// NotLoaded: the program is not in the kernel.
	NotLoaded AttachState = iota
	// NotAttached: the program is in the kernel, and has no link.
	NotAttached
	// Attached: the program has a link, in its slot or outside it.
	Attached
)

// String returns the state in words, such as "not attached".
func (s AttachState) String() string {
	switch s {
	case NotLoaded:
		return "not loaded"
	case NotAttached:
		return "not attached"
	case Attached:
		return "attached"
	}
	return fmt.Sprintf("AttachState(%d)", int(s))
}

// Attachment reports whether a program or a struct_ops map is attached.
type Attachment struct {
	// Name is that of the C function, or of the map's variable.
	Name string
	// Section is the SEC() in the source.
	Section string
	// State is as of the call of Attachments.
	State AttachState
	// Reason is why it is not attached, and what to do about it. It is
	// empty in state Attached.
	Reason string
}

// String returns the attachment as a line of text.
func (a Attachment) String() string {
	s := fmt.Sprintf("%s, SEC(%q): %s", a.Name, a.Section, a.State)
	if a.Reason != "" {
		s += ": " + a.Reason
	}
	return s
}

// Attachments returns what is attached now and what is not, and why not: an
// entry for every program, in the order of the object, then for every struct_ops map.
// It may be called in any state. Before Attach, the reasons of what Attach will leave out say
// what to do instead. A skeleton that Open has not made has none.
func (o *Object) Attachments() []Attachment {
	if !isOpen(o) {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	list := make([]Attachment, 0, len(o.progs)+len(o.structOps))
	for _, p := range o.progs {
		if p.def.Type == ebpf.StructOps {
			list = append(list, (*object)(o).memberAttachment(p))
			continue
		}
		missing, reason := "", p.unattached
		if reason == notCalled {
			// The reason that Attach will have, if it leaves the program alone.
			if leftOut := p.leftOut(); leftOut != "" {
				reason = leftOut
			}
		}
		if p.Program() == nil {
			missing = "autoload is off: call SetAutoload(true) before Load"
		}
		l := *p.link
		if further := p.further.Open(); len(further) > 0 && !p.slotInUse() {
			l = further[0]
		}
		list = append(list, (*object)(o).attachment(p.name, p.section, missing, reason, l))
	}
	for _, m := range o.structOps {
		list = append(list, m.attachment())
	}
	return list
}

// attachment returns the map's entry of Attachments.
func (m *StructOpsMap) attachment() Attachment {
	missing := ""
	if m.made == nil {
		missing = "autocreate is off: call SetAutocreate(true) before Load"
	}
	return m.object.attachment(m.name, m.ops.Section, missing, m.unattached, *m.slot)
}

// memberAttachment returns the entry of a struct_ops program, whose state is the most advanced
// one among the maps that have it.
func (o *object) memberAttachment(p *BaseProgram) Attachment {
	if p.Program() == nil {
		return o.attachment(p.name, p.section, structOpsUnused, "", nil)
	}
	var best Attachment
	for _, m := range o.tablesWith(p) {
		if a := m.attachment(); a.State > best.State {
			best = a
		}
	}
	// A user may have attached the program alone.
	a := o.attachment(p.name, p.section, "", fmt.Sprintf(structOpsProgram, best.Name, best.Reason), *p.link)
	if a.State == NotAttached && best.State == Attached {
		a.State, a.Reason = Attached, ""
	}
	return a
}

// attachment returns the entry of something whose link slot holds l. In a loaded object,
// missing is why it is not in the kernel, empty when it is, and unattached why its slot is
// empty.
func (o *object) attachment(name, section, missing, unattached string, l link.Link) Attachment {
	a := Attachment{Name: name, Section: section}
	switch {
	case o.state == closed:
		a.Reason = ErrClosed.Error()
	case o.state < loaded:
		a.Reason = ErrNotLoaded.Error()
	case missing != "":
		a.Reason = missing
	case l != nil && attach.IsClosed(l):
		a.State = NotAttached
		a.Reason = linkClosed
	case l != nil:
		a.State = Attached
	default:
		a.State = NotAttached
		a.Reason = unattached
	}
	return a
}

// Reasons of struct_ops programs: of those in the kernel, and of those that are not.
const (
	structOpsProgram = "belongs to struct_ops map %s, and is attached with it: %s"
	structOpsUnused  = "no struct_ops map that is created has it: call the map's SetAutocreate(true), or put the program into one, before Load"
)

// Reasons of what is loaded and has an empty link slot.
const (
	notCalled     = "Attach was not called"
	autoattachOff = "autoattach is off"
	attachFailed  = "Attach failed"
	detached      = "detached"
	linkClosed    = "its link was closed"
)
