package secdef

import (
	_ "embed"
	"slices"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/internal/uapi"
)

//go:embed libbpf_sections.txt
var libbpfSections string

// The table has the forms of libbpf, and no others.
func TestLibbpf(t *testing.T) {
	var want []string
	for line := range strings.Lines(libbpfSections) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			want = append(want, line)
		}
	}
	if len(want) < 100 {
		t.Fatalf("libbpf_sections.txt has %d names", len(want))
	}
	seen := make(map[string]bool)
	for _, f := range Forms() {
		if seen[f.Pattern] {
			t.Errorf("the table has %q twice", f.Pattern)
		}
		seen[f.Pattern] = true
		if !slices.Contains(want, f.Pattern) {
			t.Errorf("%q is in the table, and is not a form of libbpf", f.Pattern)
		}
	}
	for _, pattern := range want {
		if !seen[pattern] {
			t.Errorf("%q is a form of libbpf, and has no row: see the package's comment", pattern)
		}
	}
}

// No section is of two forms, so that the order of rows has no meaning.
func TestOneForm(t *testing.T) {
	for _, a := range Forms() {
		sections := []string{a.Name()}
		if a.TakesTarget() {
			sections = append(sections, a.Name()+"/x", a.Name()+"/x/y:z", a.Name()+"/")
		}
		for _, section := range sections {
			for _, b := range Forms() {
				if _, ok := b.match(section); ok != (a == b) {
					t.Errorf("%q is of form %q: %v", section, b.Pattern, ok)
				}
			}
		}
	}
}

func TestFind(t *testing.T) {
	for _, c := range []struct{ section, pattern, target string }{
		{"kprobe", "kprobe+", ""},
		{"kprobe/vfs_read+0x10", "kprobe+", "vfs_read+0x10"},
		{"?kprobe.multi/vfs_*", "kprobe.multi+", "vfs_*"},
		{"tp/syscalls/sys_enter_read", "tp+", "syscalls/sys_enter_read"},
		{"uprobe//bin/sh:main", "uprobe+", "/bin/sh:main"},
		{"fsession.multi.s/vfs_*", "fsession.multi.s+", "vfs_*"},
		{"xdp", "xdp", ""},
		{"xdp.frags/devmap", "xdp.frags/devmap", ""},
		{"tcx/ingress", "tcx/ingress", ""},
		{"lirc_mode2", "lirc_mode2", ""},
		{"struct_ops.s/ssthresh", "struct_ops.s+", "ssthresh"},
	} {
		f, target, ok := Find(c.section)
		if !ok || f.Pattern != c.pattern || target != c.target {
			t.Errorf("Find(%q) = %v, %q, %v", c.section, f, target, ok)
		}
	}
	for _, section := range []string{"", "?", "xpd", "xdpp", "xdp/", "xdp_entry", "socket1", "tcx/ingres", "tcx", "cgroup", "kprobe_x", "kprobes/x", "fentry.x/y", ".struct_ops.link", "lsm.cgroup/x", ".text"} {
		if f, _, ok := Find(section); ok {
			t.Errorf("Find(%q) = %v", section, f.Pattern)
		}
	}
}

func TestFindType(t *testing.T) {
	if f, ok := FindType(uapi.LSM, uapi.AttachLSMCgroup); !ok || f.Name() != "lsm_cgroup" || !f.Is(AttachBTF) {
		t.Errorf("%v", f)
	}
	if f, ok := FindType(uapi.UnspecifiedProgram, uapi.AttachNone); ok {
		t.Errorf("%v", f)
	}
}

func TestNearest(t *testing.T) {
	for section, want := range map[string]string{
		"xpd":                     "xdp",
		"xdpp":                    "xdp",
		"xpd/mine":                "xdp",
		"?xpd":                    "?xdp",
		"tcx/ingres":              "tcx/ingress",
		"tcx_ingress":             "tcx/ingress",
		"tc/egres":                "tc/egress",
		"struct_ops.lnk":          ".struct_ops.link",
		"struct_ops.link":         ".struct_ops.link",
		"?struct_ops.link":        "?.struct_ops.link",
		".struct_op":              ".struct_ops",
		"struct_opss/x":           "struct_ops",
		"tracepoints/sched/x":     "tracepoint",
		"XDP":                     "xdp",
		"Kprobe/vfs_read":         "kprobe",
		"?TCX/Ingress":            "?tcx/ingress",
		"kprob/vfs_read":          "kprobe",
		"kprobe:vfs_read":         "kprobe",
		"kprobe_vfs_read":         "kprobe",
		"kretprobemulti/x":        "kretprobe.multi",
		"tracepiont/syscalls/x":   "tracepoint",
		"raw_tracepint/sys_enter": "raw_tracepoint",
		"fentyr/x":                "fentry",
		"lsm_cgrup/socket_bind":   "lsm_cgroup",
		"cgroup/conect4":          "cgroup/connect4",
		"cgroup/connect5":         "cgroup/connect4",
		"sk_skb/verdct":           "sk_skb/verdict",
		"upr/x":                   "",
		"t":                       "",
		"my_programs":             "",
		"":                        "",
	} {
		if got := Nearest(section); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", section, got, want)
		}
	}
}

func TestLegacy(t *testing.T) {
	for section, want := range map[string][2]string{
		"socket1":                   {"socket", "socket"},
		"socket_filter":             {"socket", "socket"},
		"socket/http":               {"socket", "socket"},
		"?socket1":                  {"socket", "socket"},
		"tc_ingress":                {"tc", "tc"},
		"tc/my_prog":                {"tc", "tc"},
		"xdp_entry":                 {"xdp", "xdp"},
		"xdp/prog":                  {"xdp", "xdp"},
		"xdp1":                      {"xdp", "xdp"},
		"xdp.frags/prog":            {"xdp.frags", "xdp.frags"},
		"xdp/devmap/x":              {"xdp/devmap", "xdp/devmap"},
		"classifier/x":              {"classifier", "tc"},
		"classifier_endpoint":       {"classifier", "tc"},
		"classifier/tcx_ingress":    {"classifier", "tc"},
		"action/x":                  {"action", "action"},
		"cgroup/skb1":               {"cgroup/skb", "cgroup/skb"},
		"cgroup/connect4_my":        {"cgroup/connect4", "cgroup/connect4"},
		"cgroup/sock1":              {"cgroup/sock", "cgroup/sock"},
		"sk_skb1":                   {"sk_skb", "sk_skb"},
		"sk_skb/stream_verdict/two": {"sk_skb/stream_verdict", "sk_skb/stream_verdict"},
		"perf_event/LLC-misses":     {"perf_event", "perf_event"},
		"sockops2":                  {"sockops", "sockops"},
	} {
		l, ok := FindLegacy(section)
		if !ok || l.Form.Name() != want[0] || l.Today != want[1] {
			t.Errorf("FindLegacy(%q) = %v, %v, want %q", section, l, ok, want)
		}
	}
	for _, section := range []string{
		"", "xdp", "xpd", "xdpp", "xdp_", "xdp/", "xdp.frag", "tcx/ingres", "tcx/ingress", "tcx_ingress", "tc/ingres", "tc/egresss",
		"xdp/devmp", "sk_skb/verdct", "cgroup/sock_relase", "cgroup/sockopt", "kprobe_x", "kprobe1", "fentry_x",
		"socketfilter", "sockets", "classifiers/x", "my_socket1", "cgroup_skb/ingres",
	} {
		if l, ok := FindLegacy(section); ok {
			t.Errorf("FindLegacy(%q) = %q", section, l.Form.Pattern)
		}
	}
}

func TestHints(t *testing.T) {
	for section, want := range map[string]string{
		"kprobe":             "SEC() names no target: call AttachKprobe",
		"kprobe/vfs_read":    "",
		"fentry":             "SEC() names no target: call SetTarget before Load",
		"fentry/vfs_read":    "",
		"iter":               "SEC() names no target: call AttachIter",
		"iter/task":          "",
		"iter/bpf_map_elem":  "visits what one map or cgroup holds: call AttachIter with it",
		"xdp":                "needs a network interface: call AttachXDP",
		"tc":                 "needs a network interface: call AttachTC",
		"tc/ingress":         "needs a network interface: call AttachTC",
		"xdp/devmap":         "runs for a device map: put its file descriptor into an element of the map",
		"lsm_cgroup/bind":    "needs a cgroup: call AttachCgroup",
		"fentry.multi/vfs_*": "neither this runtime nor cilium/ebpf v0.22 has a call that attaches it",
		"lirc_mode2":         "needs an infrared receiver: attach it with link.RawAttachProgram",
	} {
		f, target, _ := Find(section)
		if got := f.LeftOut(target); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s: %q, want %q", section, got, want)
		}
	}
	for _, f := range Forms() {
		if f.Handle == "" || f.Since == "" {
			t.Errorf("%s: no handle or no kernel", f.Pattern)
		}
		if (f.Note == "") == (len(f.Calls) == 0) {
			t.Errorf("%s: the Way has neither a call nor a note, or both", f.Pattern)
		}
	}
}

func TestIsStructOps(t *testing.T) {
	for section, want := range map[string]bool{".struct_ops": true, "?.struct_ops.link": true, "struct_ops": false, ".struct_ops.lnk": false} {
		if got := IsStructOps(section); got != want {
			t.Errorf("IsStructOps(%q) = %v", section, got)
		}
	}
}
