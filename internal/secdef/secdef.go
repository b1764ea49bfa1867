// Package secdef is the table of the forms of SEC(): what the name of a program's
// section says of its type, of how it is loaded and of how it is attached. The
// generator, the runtime, Gazelle, docs/attach.md and the tests read it, and know no
// form of their own.
//
// # Adding a form
//
//  1. Add a row to forms in table.go, in libbpf's words: its pattern, program type,
//     expected attach type and flags, and the kernel that brought it. Numbers
//     that internal/uapi lacks are added there.
//  2. When an existing [Way] attaches such programs, name it in the row: this was all.
//     Otherwise add a Way, and a function for its hook to runtime/internal/attach. What
//     attaches automatically calls it from the runtime's attachers
//     (runtime/skeleton/attach_auto.go), what attaches by hand from a handle (handles.go)
//     with the methods that the Way names (attach_kinds.go). A form that nothing attaches
//     yet gets a Way that says so.
//  3. Add a program of the form to tests/attach/progs/forms and a row that fires it to
//     tests/attach/table_test.go.
//  4. Write the tables of docs/attach.md anew: go run ./dev/goldens
//
// TestLibbpf compares the patterns with the names that libbpf has, which are in
// libbpf_sections.txt. To compare with another version of libbpf, write that file anew
// from a clone of libbpf, as its head says.
package secdef

import (
	"slices"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/uapi"
)

// Form is a form of SEC() of a program.
type Form struct {
	// Pattern is as in libbpf: "xdp" stands for this name alone, "kprobe+" for
	// "kprobe" and for "kprobe/" with a target behind it.
	Pattern string
	// Type and AttachType are passed to the kernel for a program of this form.
	Type       uapi.ProgramType
	AttachType uapi.AttachType
	// Flags are those of BPF_PROG_LOAD.
	Flags uint32
	// Traits are what else is particular to the form.
	Traits Traits
	// Since is the version of the kernel that brought the form.
	Since string
	*Way
}

// Traits are particulars of a form.
type Traits uint

const (
	// AttachBTF: the target is a function, a tracepoint or a hook that is passed to the
	// kernel when the program is loaded.
	AttachBTF Traits = 1 << iota
	// Return: the program runs when a function returns, and only then.
	Return
	// Session: the program runs when a function is entered and when it returns, and
	// attaches to many functions.
	Session
)

// Name returns the form's name without a target, such as "kprobe.multi".
func (f *Form) Name() string { return strings.TrimSuffix(f.Pattern, "+") }

// TakesTarget reports whether the section may name a target after a slash.
func (f *Form) TakesTarget() bool { return strings.HasSuffix(f.Pattern, "+") }

// Sleepable reports whether programs of the form may sleep.
func (f *Form) Sleepable() bool { return f.Flags&sleepable != 0 }

// Is reports whether the form has all of the traits.
func (f *Form) Is(t Traits) bool { return f.Traits&t == t }

// match returns the target that a section of this form names, empty when it names
// none.
func (f *Form) match(section string) (target string, ok bool) {
	rest, ok := strings.CutPrefix(section, f.Name())
	switch {
	case !ok:
		return "", false
	case rest == "":
		return "", true
	case f.TakesTarget() && rest[0] == '/':
		return rest[1:], true
	}
	return "", false
}

// Way is how programs of some forms are attached.
type Way struct {
	// Handle is the runtime's type for such programs.
	Handle string
	// Auto is by what the runtime's Attach attaches them, empty when Attach leaves them
	// alone.
	Auto Auto
	// Config is the Kconfig option without which the kernel has no such programs or
	// attaches none, where kernels are built without it.
	Config string
	// Needs is what they attach to, which no section can name: "a network interface".
	Needs string
	// Calls are the methods of the handle that attach one by hand, any of them.
	Calls []Call
	// CallsSince is the version of the kernel that the calls need, when it is later than
	// the form's.
	CallsSince string
	// BeforeLoad is true when the calls are made before Load, and Attach attaches then.
	BeforeLoad bool
	// Parameters are the targets that want something else too, which one of the calls
	// takes.
	Parameters []string
	// Note is what to do instead, of programs that no call attaches.
	Note string
}

// Call is a method of a handle, with the arguments as in an example.
type Call struct{ Method, Args string }

// String returns the call as it is written in a program.
func (c Call) String() string { return c.Method + "(" + c.Args + ")" }

// ByHand returns the names of the methods that attach a program by hand: "AttachXDP",
// "AttachCgroupIngress or AttachCgroupEgress". It is empty when there is none.
func (w *Way) ByHand() string {
	var names []string
	for _, c := range w.Calls {
		names = append(names, c.Method)
	}
	return strings.Join(names, " or ")
}

// LeftOut returns why Attach leaves a program alone whose section names the target,
// and what to do instead. It is empty when Attach attaches the program.
func (w *Way) LeftOut(target string) string {
	switch {
	case w.Note != "":
		return w.Note
	case w.Auto == "":
		return "needs " + w.Needs + ": call " + w.ByHand()
	case target == "" && w.BeforeLoad:
		return "SEC() names no target: call " + w.ByHand() + " before Load"
	case target == "":
		return "SEC() names no target: call " + w.ByHand()
	case slices.Contains(w.Parameters, target):
		return "visits what " + w.Needs + " holds: call " + w.ByHand() + " with it"
	}
	return ""
}

// Forms returns all forms, those first that are looked at first.
func Forms() []*Form {
	list := make([]*Form, len(forms))
	for i := range forms {
		list[i] = &forms[i]
	}
	return list
}

// Find returns the form of a program's section and the target that the section
// names. A "?" at the beginning, which turns autoload off, does not count.
func Find(section string) (form *Form, target string, ok bool) {
	section = strings.TrimPrefix(section, "?")
	for i := range forms {
		if target, ok := forms[i].match(section); ok {
			return &forms[i], target, true
		}
	}
	return nil, "", false
}

// FindType returns the first form whose programs have a type and an attach type, which may
// be cilium/ebpf's.
func FindType[P, A ~uint32](typ P, attach A) (*Form, bool) {
	for i := range forms {
		if forms[i].Type == uapi.ProgramType(typ) && forms[i].AttachType == uapi.AttachType(attach) {
			return &forms[i], true
		}
	}
	return nil, false
}

// StructOps are the names of the sections that hold struct_ops tables, all of which
// may have a "?" before them: the first is for tables whose registration has no link.
var StructOps = []string{".struct_ops", ".struct_ops.link"}

// IsStructOps reports whether a section holds struct_ops tables, not programs.
func IsStructOps(section string) bool {
	section = strings.TrimPrefix(section, "?")
	return section == StructOps[0] || section == StructOps[1]
}
