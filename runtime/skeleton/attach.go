package skeleton

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// ErrAttached is returned by the Attach... methods of a program whose link slot
// is in use. Close the link and set the slot to nil, or Detach, before.
var ErrAttached = errors.New("the program's link slot is in use")

// AttachState says how far a program has come.
type AttachState int

const (
	// NotLoaded: the program is not in the kernel.
	NotLoaded AttachState = iota
	// NotAttached: the program is in the kernel, and its link slot is empty.
	NotAttached
	// Attached: there is a link in the program's slot.
	Attached
)

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

// Attachment says whether a program or a struct_ops map is attached.
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
// It may be called in any state.
func (o *Object) Attachments() []Attachment {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := make([]Attachment, 0, len(o.progs)+len(o.structOps))
	for _, p := range o.progs {
		missing, reason := "", p.unattached
		switch {
		case p.spec.Type == ebpf.StructOps && p.Program() == nil:
			missing = structOpsUnused
		case p.spec.Type == ebpf.StructOps:
			reason = structOpsProgram
		case p.Program() == nil:
			missing = "autoload is off: call SetAutoload(true) before Load"
		}
		list = append(list, o.attachment(p.name, p.spec.SectionName, missing, reason, *p.link))
	}
	for _, m := range o.structOps {
		missing := ""
		if m.made == nil {
			missing = "autocreate is off: call SetAutocreate(true) before Load"
		}
		list = append(list, o.attachment(m.name, m.section, missing, m.unattached, *m.slot))
	}
	return list
}

// attachment tells how far something has come whose link slot holds l. Of a loaded
// object, missing is why it is not in the kernel, empty when it is, and unattached
// why its slot is empty.
func (o *Object) attachment(name, section, missing, unattached string, l link.Link) Attachment {
	a := Attachment{Name: name, Section: section}
	switch {
	case o.state == closed:
		a.Reason = ErrClosed.Error()
	case o.state == opened:
		a.Reason = ErrNotLoaded.Error()
	case missing != "":
		a.Reason = missing
	case l != nil:
		a.State = Attached
	default:
		a.State = NotAttached
		a.Reason = unattached
	}
	return a
}

// Reasons of programs for struct_ops maps: of those in the kernel, and of those that are
// not.
const (
	structOpsProgram = "belongs to a struct_ops map, which is what attaches"
	structOpsUnused  = "no struct_ops map that is created has it: call the map's SetAutocreate(true), or put the program into one, before Load"
)

// Reasons of what is loaded and has an empty link slot.
const (
	notCalled     = "Attach was not called"
	autoattachOff = "autoattach is off"
	attachFailed  = "Attach failed"
	detached      = "detached"
)

// attacher attaches the programs of a kind of section.
type attacher struct {
	// attach attaches p to target, the part of the section's name after the first
	// slash.
	attach func(p *Program, target string) (link.Link, error)
	// byHand is the method that takes the target when the section names none, in which
	// case libbpf leaves the program alone too. It is empty of kinds whose programs
	// were told the target when they were loaded.
	byHand string
}

// needParameter are the iterators that visit what one object holds, which the
// kernel refuses to attach without it.
var needParameter = []string{"bpf_map_elem", "bpf_sk_storage_map", "sockmap", "cgroup"}

// leftOut returns why Attach leaves the loaded program alone, "" when it attaches it.
func (p *Program) leftOut() string {
	kind, target := p.kindAndTarget()
	a, auto := attachers[kind]
	switch {
	case !p.autoattach:
		return autoattachOff
	case auto && a.byHand != "" && target == "":
		return "SEC() names no target: call " + a.byHand
	case auto && p.spec.AttachType == ebpf.AttachTraceIter && slices.Contains(needParameter, p.spec.AttachTo):
		return "visits what one map or cgroup holds: call AttachIter with it"
	case auto:
		return ""
	}
	if hint := manual(p.spec.SectionName); hint != "" {
		return hint
	}
	return "programs of this section do not attach automatically: attach it with a function of package link, and put the link into the slot"
}

// attachAuto attaches a program that is not left out as its section name says.
func (p *Program) attachAuto() (link.Link, error) {
	kind, target := p.kindAndTarget()
	return attachers[kind].attach(p, target)
}

// manualHints are what to do with programs that attach to something a section
// cannot name, by the beginning of the section's name. Longer beginnings come
// first.
var manualHints = []struct{ prefix, hint string }{
	{"xdp/devmap", "runs for a device map: put its file descriptor into an element of the map"},
	{"xdp.frags/devmap", "runs for a device map: put its file descriptor into an element of the map"},
	{"xdp/cpumap", "runs for a CPU map: put its file descriptor into an element of the map"},
	{"xdp.frags/cpumap", "runs for a CPU map: put its file descriptor into an element of the map"},
	{"xdp", "needs a network interface: call AttachXDP"},
	{"tc/", "needs a network interface: call AttachTCX"},
	{"tcx/", "needs a network interface: call AttachTCX"},
	{"tc", "needs a network interface: call AttachTCXIngress or AttachTCXEgress"},
	{"classifier", "needs a network interface: call AttachTCXIngress or AttachTCXEgress"},
	{"action", "is an action of a traffic control filter: attach it with a netlink library"},
	{"netkit/", "needs a network interface of kind netkit: call AttachNetkit"},
	{"cgroup/skb", "needs a cgroup: call AttachCgroupIngress or AttachCgroupEgress"},
	{"cgroup", "needs a cgroup: call AttachCgroup"},
	{"lsm_cgroup", "needs a cgroup: call AttachCgroup"},
	{"sockops", "needs a cgroup: call AttachCgroup"},
	{"socket", "needs a socket: call AttachSocket"},
	{"sk_reuseport", "needs a socket: call AttachReuseport"},
	{"sk_lookup", "needs a network namespace: call AttachNetNS"},
	{"flow_dissector", "needs a network namespace: call AttachNetNS"},
	{"sk_skb", "needs a map of sockets: call AttachSockMap"},
	{"sk_msg", "needs a map of sockets: call AttachSockMap"},
	{"perf_event", "needs a perf event: call AttachPerfEvent or AttachSampling"},
	{"netfilter", "needs a netfilter hook: call AttachNetfilter"},
	{"lwt_", "belongs to a route: name the program when adding the route with a netlink library"},
	{"syscall", "is called, not attached: call Run"},
	{"struct_ops", structOpsProgram},
}

// manual returns what to do with a program of the section, "" when it is of no
// known kind.
func manual(section string) string {
	section = strings.TrimPrefix(section, "?")
	for _, h := range manualHints {
		if strings.HasPrefix(section, h.prefix) {
			return h.hint
		}
	}
	return ""
}
