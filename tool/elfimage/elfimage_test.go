package elfimage_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tool/elfimage"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker/linkertest"
)

const source = `


struct {
	__uint(type, 1);
	__uint(max_entries, 8);
	__type(key, u32);
	__type(value, u64);
} counts SEC(".maps");

u32 step = 3;
static volatile u32 calls;

SEC("socket")
int count(void *ctx)
{
	u32 key = 0;

	lookup(&counts, &key);
	calls += step;
	return calls;
}

char _license[] SEC("license") = "GPL";
`

// native is the target of this machine.
func native() string {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return "bpfel"
	}
	return "bpfeb"
}

// A file is opened as clang has written it, and as a linker has.
func TestReadFile(t *testing.T) {
	bpftest.NeedsBPF(t)
	bpftest.NeedsKernel(t, 5, 5, "sections that can be mapped")
	compiled := linkertest.Compile(t, native(), source)
	linked, err := linker.Link(compiled, linker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"compiled": compiled[0].Data, "linked": linked} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "counter.bpf.o")
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
			img, err := elfimage.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			obj, err := skeleton.OpenObject(img)
			if err != nil {
				t.Fatal(err)
			}
			defer obj.Close()
			if m := obj.FindMap("counts"); m == nil || m.KeySize() != 4 || m.ValueSize() != 8 {
				t.Errorf("map counts: %v", m)
			}
			found, _ := obj.FindVariable("step")
			step, err := skeleton.VarOf[uint32](found)
			if err != nil {
				t.Fatal(err)
			}
			if v, err := step.Get(); err != nil || v != 3 {
				t.Errorf("step is %d, %v", v, err)
			}
			if err := step.Set(5); err != nil {
				t.Fatal(err)
			}
			if err := obj.Load(); err != nil {
				t.Fatal(err)
			}
			for _, want := range []uint32{5, 10} {
				if got, _, err := obj.FindProgram("count").Test(make([]byte, 64)); err != nil || got != want {
					t.Errorf("the program returns %d, %v, want %d", got, err, want)
				}
			}
		})
	}
}

const table = `
struct tcp_congestion_ops {
	u32 (*ssthresh)(void *sk);
	u32 (*undo_cwnd)(void *sk);
	void (*cong_avoid)(void *sk, u32 ack, u32 acked);
	char name[16];
} __attribute__((preserve_access_index));

SEC("struct_ops") u64 ssthresh(u64 *ctx)
{
	return 2;
}

SEC("struct_ops") u64 undo_cwnd(u64 *ctx)
{
	return 3;
}

SEC("struct_ops") u64 cong_avoid(u64 *ctx)
{
	return 0;
}

SEC(".struct_ops") struct tcp_congestion_ops control = {
	.ssthresh = (void *) ssthresh,
	.undo_cwnd = (void *) undo_cwnd,
	.cong_avoid = (void *) cong_avoid,
	.name = "elfimage_first",
};

char _license[] SEC("license") = "GPL";
`

// A table has a handle, a slot and values without generated code too.
func TestTable(t *testing.T) {
	bpftest.NeedsBPF(t)
	img, err := elfimage.Make("table.bpf.o", linkertest.Compile(t, native(), table)[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	obj, err := skeleton.OpenObject(img)
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	control := obj.FindStructOps("control")
	if control == nil {
		t.Fatal("has no table control")
	}
	value := control.InitialValue()
	at := bytes.Index(value, []byte("elfimage_first"))
	if at < 0 {
		t.Fatalf("the name is not in %q", value)
	}
	copy(value[at:], "elfimage_other")
	if err := control.SetInitialValue(value); err != nil {
		t.Fatal(err)
	}
	if !obj.FindProgram("ssthresh").Autoload() {
		t.Error("the program of a table is not to be loaded")
	}
	err = obj.Load()
	bpftest.SkipIfRefused(t, "struct_ops", err)
	if err != nil {
		t.Fatal(err)
	}
	l, err := control.Attach()
	if err != nil {
		t.Fatal(err)
	}
	if *control.Slot() != l {
		t.Error("the link is not in the slot")
	}
	const available = "/proc/sys/net/ipv4/tcp_available_congestion_control"
	names := func() string {
		data, err := os.ReadFile(available)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if got := names(); !strings.Contains(got, "elfimage_other") || strings.Contains(got, "elfimage_first") {
		t.Errorf("the kernel has %s", got)
	}
	if a := obj.Attachments(); !attached(a, "ssthresh") || !attached(a, "control") {
		t.Errorf("attachments: %v", a)
	}
	if err := obj.Detach(); err != nil {
		t.Fatal(err)
	}
	if got := names(); strings.Contains(got, "elfimage_other") {
		t.Errorf("the kernel still has %s", got)
	}
}

// attached reports whether a program or table is in the list as attached.
func attached(list []skeleton.Attachment, name string) bool {
	return slices.ContainsFunc(list, func(a skeleton.Attachment) bool {
		return a.Name == name && a.State == skeleton.Attached
	})
}

func TestErrors(t *testing.T) {
	if _, err := elfimage.ReadFile(filepath.Join(t.TempDir(), "none.bpf.o")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for _, data := range []string{"", "\x7fELF", "text of another kind"} {
		if _, err := elfimage.Make("dir/damaged.bpf.o", []byte(data)); err == nil || !strings.HasPrefix(err.Error(), "dir/damaged.bpf.o: ") {
			t.Errorf("%q: %v", data, err)
		}
	}
}
