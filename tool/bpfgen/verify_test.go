package main

import (
	"os"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/tool/internal/verify"
)

// policyC has a program whose loop is as long as a constant says, and a function for others
// to replace.
const policyC = `
#define SEC(name) __attribute__((section(name), used))
char _license[] SEC("license") = "GPL";
const volatile int rounds = 1;
struct ctx { int x; };
struct { int (*type)[2]; int *key; long *value; int (*max_entries)[1 << 20]; } numbers SEC(".maps");
static void *(*lookup)(void *map, const void *key) = (void *)1;
__attribute__((noinline)) int policy(int x) { return x; }
SEC("socket") int filter(void *ctx)
{
	int sum = 0;
	for (int i = 0; i < rounds && i < 1000; i++) {
		int key = i;
		long *value = lookup(&numbers, &key);
		if (value)
			sum += *value;
	}
	return policy(sum);
}
`

const replacementC = `
#define SEC(name) __attribute__((section(name), used))
char _license[] SEC("license") = "GPL";
SEC("freplace") int policy_v2(int x) { return x + 1; }
`

// A report of bpfgen verify, as JSON.
func verified(t *testing.T, want int, args ...string) (*verify.Report, string) {
	t.Helper()
	out, errs, status := bpfgen(append([]string{"verify", "-json"}, args...)...)
	if status != want {
		t.Fatalf("%q: status %d, want %d: %s", args, status, want, errs)
	}
	report, err := verify.Decode([]byte(out))
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return report, errs
}

func TestVerify(t *testing.T) {
	needsClang(t)
	bpftest.NeedsBPF(t)
	t.Chdir(t.TempDir())
	compiled(t, policyC)
	write(t, "many.json", `{"variables": {"rounds": 200}, "maps": {"numbers": 8}}`)
	write(t, "none.json", `[{"value": {".rodata": [{"rounds": 0}]}}]`)
	write(t, "bad.json", `{"variables": {"round": 200}}`)

	report, _ := verified(t, 0, "x.o")
	one := report.Results[0]
	if one.Verdict != verify.Loaded || one.Insns == 0 || one.Memory == 0 || len(report.Notes) != 1 {
		t.Errorf("%+v", report)
	}

	// What the constant is decides how much there is to verify.
	report, errs := verified(t, 1, "-preset", "many=many.json", "-preset", "none=none.json", "-limit", "filter=insns=1000,stack=512", "-html", "page.html", "-kernel", "mine", "x.o")
	many, none := report.Results[0], report.Results[1]
	if many.Preset != "many" || none.Preset != "none" || many.Insns < 1000 || none.Insns >= one.Insns || many.Kernel != "mine" {
		t.Errorf("%+v\n%+v", many, none)
	}
	if len(many.Over) != 1 || !strings.HasPrefix(errs, "bpfgen: x.o: filter [many]: insns is ") || !strings.HasSuffix(errs, ", and the limit 1000 in kernel mine ("+many.CPU+"): make the program lighter, or raise the limit\n") {
		t.Errorf("%q", errs)
	}
	if page := read(t, "page.html"); !strings.HasPrefix(page, "<!DOCTYPE html>") || !strings.Contains(page, "filter") {
		t.Error(page)
	}
	if _, errs := verified(t, 0, "-preset", "many=many.json", "-limit", "filter=insns=1000", "-may-fail", "filter: is to be mended", "x.o"); errs != "" {
		t.Error(errs)
	}
	if out, _, status := bpfgen("verify", "x.o"); status != 0 || !strings.HasPrefix(out, "kernel ") || !strings.Contains(out, "\nx.o\n  filter ") {
		t.Errorf("status %d, %s", status, out)
	}

	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err == nil {
		// The kernel's own are as good as those of a file.
		verified(t, 0, "-btf", "/sys/kernel/btf/vmlinux", "x.o")
	}

	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "bpfgen: verify: no object given: usage: "},
		{[]string{"none.o"}, "bpfgen: none.o: no such file or directory\n"},
		{[]string{"-limit", "filter=1", "x.o"}, `bpfgen: verify: invalid value "filter=1" for flag -limit: limit 1 of program filter: want FIGURE=NUMBER`},
		{[]string{"-preset", "bad.json", "x.o"}, "bpfgen: verify: -preset bad.json: want NAME=FILE"},
		{[]string{"-preset", "bad=bad.json", "x.o"}, "bpfgen: bad.json: variable round: none of the objects has it: did you mean rounds?\n"},
		{[]string{"-section", "filter", "x.o"}, `bpfgen: verify: invalid value "filter" for flag -section: filter: want PROGRAM=VALUE`},
		{[]string{"-max-entries", "4294967296", "x.o"}, "bpfgen: verify: -max-entries 4294967296: no map has as many"},
		{[]string{"-btf", "x.o", "x.o"}, "bpfgen: x.o: want raw BTF, as that of /sys/kernel/btf/vmlinux, or an archive of several: it is not an archive of kernel types"},
		{[]string{"-btf", "none", "x.o"}, "bpfgen: none: no such file or directory\n"},
		{[]string{"-program", "flter", "x.o"}, "bpfgen: program: no program of the objects is called flter: did you mean filter?\n"},
	} {
		if _, errs, status := bpfgen(append([]string{"verify"}, tt.args...)...); status != 2 || !strings.HasPrefix(errs, tt.want) {
			t.Errorf("%q: status %d, %s", tt.args, status, errs)
		}
	}
}

// A program that replaces a function is verified with the program that has it.
func TestVerifyTarget(t *testing.T) {
	needsClang(t)
	bpftest.NeedsBPF(t)
	bpftest.NeedsKernel(t, 5, 6, "freplace")
	t.Chdir(t.TempDir())
	compiled(t, policyC)
	write(t, "policy.o", read(t, "x.o"))
	compiled(t, replacementC)
	report, _ := verified(t, 1, "x.o")
	if r := report.Results[0]; r.Verdict != verify.Failed || !strings.Contains(r.Reason, "name a target for it, with -target policy_v2=OBJECT:PROGRAM") {
		t.Errorf("%+v", r)
	}
	out, _, _ := bpfgen("verify", "-json", "-target", "policy_v2=policy.o:filter:policy", "x.o")
	report, err := verify.Decode([]byte(out))
	if err != nil {
		t.Fatal(err)
	}
	r := report.Results[0]
	if strings.Contains(r.Reason, "refused by this kernel") {
		t.Skipf("needs a kernel that lets root attach freplace: %s", r.Reason)
	}
	if r.Verdict != verify.Loaded || r.Insns == 0 {
		t.Errorf("%+v", r)
	}
}
