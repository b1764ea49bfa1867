// Package attach connects loaded programs to what runs them.
//
// # Model
//
// A hook is what runs programs: a function of the kernel or of user space, an event, a network
// interface, a cgroup, a socket; for a table of programs, the subsystem of the kernel that
// takes it. A program is connected to it by one call, a function of this package for each kind
// of hook. The call says where ([Position]) and with what (a cookie, a mode), and returns the
// connection, which is a [link.Link] whatever the kernel has:
//
//   - A link of the kernel, where it has one. It can be pinned and updated, and ends with its
//     last descriptor.
//   - A perf event with the program on it. The connection holds the descriptor of the event,
//     and that of the kernel's link where there is one.
//   - Nothing, where a hook takes a program without a link: a socket, a filter of clsact, a
//     cgroup that takes one program, a table of struct_ops that is registered. The connection
//     then holds what is needed to take the program off by itself, descriptors of its own of
//     the program and of the target, as it may be closed after the object that the program is
//     from. It cannot be pinned.
//   - Several of these, such as those of a USDT's locations or of all CPUs, which look like one.
//
// A connection that fails half-way leaves nothing behind, and one that is closed again does
// nothing. [Links] is the list of those of a program; it forgets the ones that are closed.
//
// A connection may be for the next process as well, which puts its own program into it
// ([Connect] with [Pins]). Where the kernel can update a link, no moment passes without either
// program; where it cannot, the new link comes before the old one goes. What cannot be pinned
// is refused. Every step leaves what the next process goes on from.
//
// Whether a target is there can be found out without connecting ([Find]), and so can whether an
// error means that it is not ([IsMissing]). Both return the same errors.
//
// The kernel's answer is a number, and what it means depends on the hook, so each function
// explains it: EACCES is a program that reads too far for a tracepoint, and the wrong end of a
// pair for netkit. An option that the kernel is too old for is named in the error. What is not
// about the hook, such as a missing capability, is up to [Explain], for all of them.
//
// Options are those of the handles of package skeleton, which documents them.
// Package secdef has the hook that a section is for. Only Linux has hooks: elsewhere all
// functions fail with [ebpf.ErrNotSupported].
package attach

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/runtime/internal/usdt"
)

// Program is a program in the kernel that is to be connected, and what its definition says of
// it.
type Program struct {
	*ebpf.Program
	// Object and Name are those of the object and of the C function.
	Object, Name string
	// Section is the argument of SEC().
	Section string
	// AttachType is what the program was loaded for.
	AttachType ebpf.AttachType
	// OnProgram is true when it was loaded for a function of another program.
	OnProgram bool
	// Traits are those of the section's form.
	Traits secdef.Traits
	// Pins is where links of the program are pinned, nil when they are not.
	Pins *Pins
}

// is reports whether the program's form has a trait.
func (p *Program) is(trait secdef.Traits) bool { return p.Traits&trait == trait }

// Mode is how the kernel connects a program to a perf event.
type Mode int

const (
	// Default is a link where the kernel has them (5.15), else Perf.
	Default Mode = iota
	// Perf makes the program part of the event.
	Perf
	// Link is a link, and an error where the kernel has none.
	Link
)

// Position is where among several programs on a hook the program goes.
type Position struct {
	Before, After *Anchor
	// Replace is a link in which this program takes the place of the one it has. It excludes
	// the others.
	Replace link.Link
	// ExpectedRevision is the number of changes to the programs of the hook, 0 for any.
	ExpectedRevision uint64
}

// Anchor names a program among those on a hook, by one of its fields. The zero value stands for
// all of them.
type Anchor struct {
	Link      link.Link
	LinkID    link.ID
	Program   *ebpf.Program
	ProgramID ebpf.ProgramID
}

// ProbeOptions are those of a probe of one function.
type ProbeOptions struct {
	Cookie uint64
	Return bool
	Mode   Mode
}

// KprobeMultiOptions are those of a probe of several functions of the kernel.
type KprobeMultiOptions struct {
	Cookie      uint64
	Return      bool
	Symbols     []string
	Addresses   []uint64
	Cookies     []uint64
	UniqueMatch bool
}

// UprobeOptions are those of a probe of one location in a file.
type UprobeOptions struct {
	ProbeOptions
	PID          int
	RefCtrOffset uint64
}

// UprobeMultiOptions are those of a probe of several locations in a file.
type UprobeMultiOptions struct {
	PID           int
	Cookie        uint64
	Return        bool
	Symbols       []string
	Offsets       []uint64
	RefCtrOffsets []uint64
	Cookies       []uint64
}

// USDTs is what the programs of an object have in common that are on USDTs.
type USDTs struct {
	// Specs and IPs are the maps [usdt.SpecMap] and [usdt.IPMap].
	Specs, IPs *ebpf.Map
	// SpecType returns the type of the values of Specs in the object.
	SpecType func() (btf.Type, error)
	// IDs gives out the indexes of Specs.
	IDs *usdt.IDs
	// Forget deletes an address from IPs, unless the maps are closed: a connection may
	// outlive them.
	Forget func(ip uint64) error
}

// IterOptions are what an iterator visits.
type IterOptions struct {
	Map      *ebpf.Map
	Cgroup   string
	Order    uint32
	TID, PID int
}

// TCMode is how programs of traffic control are connected.
type TCMode int

const (
	// TCAuto is TCX where the kernel has it, else TCClsact.
	TCAuto TCMode = iota
	// TCX is a link.
	TCX
	// TCClsact is a filter of a clsact qdisc.
	TCClsact
)

// TCOptions are those of traffic control.
type TCOptions struct {
	Position
	Mode     TCMode
	Priority uint16
	Handle   uint32
}

// CgroupMode is which other programs a cgroup takes.
type CgroupMode uint32

const (
	// CgroupMulti is any number, in the cgroup and below.
	CgroupMulti CgroupMode = iota
	// CgroupOverride is one, in place of which cgroups below run theirs.
	CgroupOverride
	// CgroupExclusive is one, and none below.
	CgroupExclusive
)

// CgroupOptions are those of a cgroup.
type CgroupOptions struct {
	Position
	Mode     CgroupMode
	Preorder bool
}

// NetfilterOptions are those of a hook of netfilter.
type NetfilterOptions struct {
	Family, Hook uint32
	Priority     int32
	Defrag       bool
}

// CheckIfindex refuses what is not an index of a network device. 0 is none.
func CheckIfindex(ifindex int) error {
	if ifindex < 0 || int64(ifindex) > 1<<31-1 {
		return fmt.Errorf("%d is not an index of a network device", ifindex)
	}
	return nil
}

// SplitUser splits a target "path:function".
func SplitUser(target string) (path, function string, err error) {
	path, function, ok := strings.Cut(target, ":")
	if !ok || path == "" || function == "" {
		return "", "", fmt.Errorf("target %q is incomplete: write <path>:<function>", target)
	}
	return path, function, nil
}

// SplitUSDT splits a target "path:provider:name".
func SplitUSDT(target string) (path, provider, name string, err error) {
	parts := strings.Split(target, ":")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return "", "", "", fmt.Errorf("target %q is incomplete: write <path>:<provider>:<name>", target)
	}
	return parts[0], parts[1], parts[2], nil
}

// Target is what a section names: a form's way of attaching, and what is behind the slash.
type Target struct {
	Auto secdef.Auto
	Name string
}
