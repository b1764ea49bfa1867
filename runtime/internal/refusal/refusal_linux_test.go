package refusal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/internal/kallsyms"
	"github.com/rules-bpf/rules_bpf/runtime/internal/privilege"
	"github.com/rules-bpf/rules_bpf/runtime/internal/token"
)

// The advice comes behind the error, once, and what errors.Is finds stays.
func TestAdvise(t *testing.T) {
	if err := Advise(nil, "do this"); err != nil {
		t.Errorf("advice on no error: %v", err)
	}
	if err := Advise(unix.EPERM, ""); err != unix.EPERM {
		t.Errorf("no advice: %v", err)
	}
	err := Advise(fmt.Errorf("map m: %w", unix.EPERM), "do this")
	if want := "map m: operation not permitted: do this"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	wrapped := fmt.Errorf("load: %w", err)
	if again := Advise(wrapped, "do that"); again != wrapped || !errors.Is(again, unix.EPERM) {
		t.Errorf("%v, want %v", again, wrapped)
	}
}

// What the kernel asks for, of a kind of each group.
func TestCaps(t *testing.T) {
	for typ, want := range map[ebpf.ProgramType]string{
		ebpf.SocketFilter:          "[CAP_BPF]",
		ebpf.Kprobe:                "[CAP_BPF CAP_PERFMON]",
		ebpf.RawTracepointWritable: "[CAP_BPF CAP_PERFMON]",
		ebpf.Extension:             "[CAP_BPF CAP_NET_ADMIN CAP_PERFMON]",
		ebpf.XDP:                   "[CAP_BPF CAP_NET_ADMIN]",
	} {
		if got := fmt.Sprint(ProgramCaps(typ)); got != want {
			t.Errorf("program %v: %s, want %s", typ, got, want)
		}
	}
	for typ, want := range map[ebpf.MapType]string{
		ebpf.Hash:         "[CAP_BPF]",
		ebpf.XSKMap:       "[CAP_BPF CAP_NET_ADMIN]",
		ebpf.StructOpsMap: "[CAP_BPF CAP_PERFMON]",
	} {
		if got := fmt.Sprint(MapCaps(typ)); got != want {
			t.Errorf("map %v: %s, want %s", typ, got, want)
		}
	}
	got := Union(MapCaps(ebpf.XSKMap), ProgramCaps(ebpf.Kprobe), MapCaps(ebpf.Hash))
	if want := []privilege.Cap{privilege.BPF, privilege.Perfmon, privilege.NetAdmin}; !slices.Equal(got, want) {
		t.Errorf("all: %v, want %v", got, want)
	}
}

func TestWhy(t *testing.T) {
	for err, want := range map[error]string{
		unix.EMFILE: "open files, as many as it may: raise the limit (ulimit -n",
		unix.ENFILE: "raise fs.file-max",
		unix.ENOMEM: "make its maps smaller",
		unix.EINVAL: "",
		unix.ENOENT: "",
	} {
		got := Why(fmt.Errorf("create: %w", err), privilege.BPF)
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

// A token that was used says what it is for, and one that was looked for why it is not there.
func TestWhyForbidden(t *testing.T) {
	needed := []privilege.Cap{privilege.BPF}
	got := WhyForbidden(needed, token.Token{Path: t.TempDir()})
	if !strings.Contains(got, "the BPF token from /") || !strings.Contains(got, "have the bpffs mounted with more") {
		t.Errorf("with a token: %q", got)
	}
	got = WhyForbidden(needed, token.Token{Absent: errors.New("is not there")})
	if !strings.HasPrefix(got, privilege.Explain(needed...)) || !strings.HasSuffix(got, "(LoadOptions.TokenPath), which is not there") {
		t.Errorf("without one: %q", got)
	}
	if got := WhyForbidden(needed, token.Token{}); got != privilege.Explain(needed...) {
		t.Errorf("where nobody looked for one: %q", got)
	}
}

func TestWhyNoJIT(t *testing.T) {
	for _, tc := range []struct {
		data   string
		err    error
		hasJIT bool
		want   string
	}{
		{data: "1\n"},
		{data: "2\n"},
		{data: "0\n", want: "sysctl net.core.bpf_jit_enable=1"},
		{err: fmt.Errorf("open: %w", fs.ErrNotExist), want: "CONFIG_BPF_JIT"},
		{err: fmt.Errorf("open: %w", fs.ErrNotExist), hasJIT: true, want: "is not 0"},
		{err: unix.EACCES, want: "is not 0"},
	} {
		got := whyNoJIT([]byte(tc.data), tc.err, func() bool { return tc.hasJIT })
		if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%q, %v: %q, want %q", tc.data, tc.err, got, tc.want)
		}
	}
}

// The function by which a kernel with a compiler is known, where its switch is not there.
func TestHasJIT(t *testing.T) {
	if _, err := os.Stat(jitSwitch); err == nil && !kallsyms.HasFunction("bpf_jit_binary_alloc") {
		t.Errorf("the kernel has %s, and not the function", jitSwitch)
	}
}

func TestWhyNoTrampoline(t *testing.T) {
	for _, tc := range []struct {
		typ    ebpf.ProgramType
		attach ebpf.AttachType
		err    error
		want   bool
	}{
		{ebpf.Tracing, ebpf.AttachTraceFEntry, unix.ENOMEM, true},
		{ebpf.Tracing, ebpf.AttachModifyReturn, unix.ENOMEM, true},
		{ebpf.LSM, ebpf.AttachLSMMac, unix.ENOMEM, true},
		{ebpf.Extension, ebpf.AttachNone, unix.EINVAL, true},
		{ebpf.Tracing, ebpf.AttachTraceFEntry, unix.EPERM, false},
		{ebpf.Tracing, ebpf.AttachTraceRawTp, unix.ENOMEM, false},
		{ebpf.Tracing, ebpf.AttachTraceIter, unix.EINVAL, false},
		{ebpf.XDP, ebpf.AttachXDP, unix.ENOMEM, false},
	} {
		// Where there is a compiler, it is something else.
		if got := WhyNoTrampoline(tc.err, tc.typ, tc.attach); (got != "") != (tc.want && !HasJIT()) {
			t.Errorf("%v, %v, %v: %q", tc.typ, tc.attach, tc.err, got)
		}
		if got := onTrampoline(tc.typ, tc.attach); got != tc.want && tc.err != unix.EPERM {
			t.Errorf("%v, %v: %t", tc.typ, tc.attach, got)
		}
	}
}

func TestWhyNoArena(t *testing.T) {
	if got := WhyNoArena(unix.EINVAL); got != "" {
		t.Errorf("%q", got)
	}
	if got := WhyNoArena(fmt.Errorf("create it: %w", unix.EOPNOTSUPP)); !strings.Contains(got, "BPF JIT compiler") {
		t.Errorf("%q", got)
	}
}

func TestTooNew(t *testing.T) {
	atomic := asm.FetchAdd.Mem(asm.R10, asm.R2, asm.DWord, -8)
	plain := asm.AddAtomic.Mem(asm.R10, asm.R2, asm.DWord, -8)
	short := asm.JEq.Imm32(asm.R2, 1, "x")
	long := asm.LongJump("x")
	for _, tc := range []struct {
		insns asm.Instructions
		major uint32
		minor uint32
		want  string
	}{
		{asm.Instructions{plain}, 4, 19, ""},
		{asm.Instructions{atomic}, 5, 12, ""},
		{asm.Instructions{plain, atomic}, 5, 10, "-mcpu=v2"},
		{asm.Instructions{short}, 5, 0, "-mcpu=v2"},
		{asm.Instructions{short}, 5, 1, ""},
		{asm.Instructions{long}, 6, 1, "-mcpu=v3"},
		{asm.Instructions{long}, 6, 6, ""},
		// The lowest helps against both.
		{asm.Instructions{long, atomic, long}, 5, 10, "-mcpu=v2"},
	} {
		got := tooNew(tc.insns, tc.major<<16|tc.minor<<8)
		if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%v on Linux %d.%d: %q, want %q", tc.insns, tc.major, tc.minor, got, tc.want)
		}
	}
}

// The log decides what is looked at: the address of a kfunc, and complaints of instructions,
// of which newer kernels than any that there is have none.
func TestOfVerifier(t *testing.T) {
	for _, tc := range []struct {
		log  []string
		want string
	}{
		{[]string{"pseudo btf_id 95502 in ldimm64 isn't KIND_VAR.", "processed 0 insns (limit 1000000)"}, "takes the address of a kfunc, as bpf_ksym_exists does, for which Linux 6.4 is the first"},
		// Newer kernels write more figures at the end.
		{[]string{"pseudo btf_id 95502 in ldimm64 isn't KIND_VAR.", "verification time 3 usec", "stack depth 0", "insns processed 0", "processed 0 insns (limit 1000000)"}, "takes the address of a kfunc"},
		{[]string{"unknown opcode db", "0: R1=ctx()", "1: R1=ctx()", "2: R1=ctx()", "R0 !read_ok"}, ""},
		{[]string{"R0 !read_ok"}, ""},
		{nil, ""},
	} {
		got := OfVerifier(tc.log, nil, binary.LittleEndian)
		if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%q: %q, want %q", tc.log, got, tc.want)
		}
	}
	// Half an instruction is no reason to fail for.
	if got := OfVerifier([]string{"unknown opcode db"}, []byte{1, 2, 3}, binary.LittleEndian); got != "" {
		t.Errorf("damaged instructions: %q", got)
	}
}

func TestOfLockdown(t *testing.T) {
	const read, write = "program of this type cannot use helper bpf_probe_read_kernel#113", "unknown func bpf_probe_write_user#36"
	for _, tc := range []struct{ end, mode, want string }{
		{read, "", ""},
		{read, "integrity", ""},
		{read, "confidentiality", "says confidentiality), and does not allow programs to read its memory by address"},
		{write, "integrity", "says integrity), and does not allow programs to write to the memory of processes"},
		{write, "confidentiality", "does not allow programs to write to the memory of processes"},
		{"R1 type=scalar expected=fp: call bpf_probe_read_kernel#113", "confidentiality", ""},
	} {
		got := ofLockdown(tc.end, tc.mode)
		if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%q, %q: %q, want %q", tc.end, tc.mode, got, tc.want)
		}
	}
}

// Without a compiler, a log says so in two ways.
func TestLacksJIT(t *testing.T) {
	for line, want := range map[string]bool{
		"JIT is required for calling kernel function":     true,
		"callbacks are not allowed in non-JITed programs": true,
		"R0 !read_ok": false,
	} {
		log := []string{line, "verification time 3 usec", "stack depth 0", "insns processed 0", "processed 0 insns (limit 1000000)"}
		if got := LacksJIT(log); got != (want && !HasJIT()) {
			t.Errorf("%s: %t", line, got)
		}
	}
}

func TestEnding(t *testing.T) {
	if got := Ending([]string{"verification time 3 usec", "stack depth 0", "processed 0 insns"}); got != "" {
		t.Errorf("%q", got)
	}
	if got := Ending([]string{"1", "2", "3", "4", "processed 5", "5", "processed 6", ""}); got != "3\n4\nprocessed 5\n5" {
		t.Errorf("%q", got)
	}
}
