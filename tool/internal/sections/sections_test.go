package sections

import (
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	const (
		noForm = " is not a form of SEC() that a loader knows, so the program has no type: "
		old    = " is a name that libbpf 1.0 and newer refuse: write "
	)
	for _, tt := range []struct {
		section string
		policy  Policy
		problem string // what it has in it
		warning string
	}{
		{"xdp", Policy{}, "", ""},
		{"?kprobe/vfs_read", Policy{}, "", ""},
		{"fentry.multi/vfs_*", Policy{}, "", ""},
		{"lirc_mode2", Policy{}, "", ""},
		{"xpd", Policy{}, `p: SEC("xpd")` + noForm + `did you mean SEC("xdp")? Otherwise, if the section is one of your own, list it (-section xpd; in Bazel sections = ["xpd"]) and give the program its type with SetType before Load`, ""},
		{"?xpd", Policy{}, `SEC("?xpd")` + noForm + `did you mean SEC("?xdp")?`, ""},
		{"tcx/ingres", Policy{Legacy: true}, `did you mean SEC("tcx/ingress")?`, ""},
		{"struct_ops.link", Policy{}, `did you mean SEC("struct_ops")?`, ""},
		{"?.struct_ops", Policy{}, `did you mean SEC("?struct_ops")?`, ""},
		{"mine/a", Policy{}, `SEC("mine/a")` + noForm + "correct it as docs/attach.md lists them; if the section is one of your own, list it", ""},
		{"mine/a", Policy{Own: []string{"mine/*"}}, "", ""},
		{"?mine/a", Policy{Own: []string{"mine/*"}}, "", ""},
		{"?mine", Policy{Own: []string{"?mine"}}, "", ""},
		{"minetoo", Policy{Own: []string{"mine", "mine/*"}}, noForm, ""},
		{"tc_ingress", Policy{}, `p: SEC("tc_ingress")` + old + `SEC("tc"), or allow such names (-legacy-sections; in Bazel legacy_sections = True)`, ""},
		{"?classifier/x", Policy{}, old + `SEC("?tc"), or allow`, ""},
		{"tc_ingress", Policy{Legacy: true}, "", `p: SEC("tc_ingress") is taken for SEC("tc"): write that, libbpf 1.0 and newer refuse the old name`},
		{"tc_ingress", Policy{Own: []string{"tc_*"}, Legacy: true}, "", ""},
	} {
		problem, warning := tt.policy.Check("p", tt.section)
		if warning != tt.warning || (tt.problem == "") != (problem == "") || !strings.Contains(problem, tt.problem) {
			t.Errorf("%s %+v:\n%s\n%s\nwant\n%s\n%s", tt.section, tt.policy, problem, warning, tt.problem, tt.warning)
		}
	}
	if problem, _ := (Policy{}).Check("a\nb", "c\u202e"); strings.ContainsAny(problem, "\n\u202e") {
		t.Errorf("%q is not quoted", problem)
	}
}
