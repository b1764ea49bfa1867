package vmlinuxh_test

import (
	"bytes"
	"debug/elf"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/bpftool"
	"github.com/rules-bpf/rules_bpf/tool/internal/vmlinuxh"
	"github.com/rules-bpf/rules_bpf/tool/internal/vmlinuxh/vmlinuxhtest"
)

const programHead = `#include "vmlinux.h"
#define SEC(name) __attribute__((section(name), used))
char LICENSE[] SEC("license") = "GPL";
`

// programs are CO-RE programs, each of which uses another part of the header.
var programs = map[string]string{
	"members": programHead + `
struct seen { int pid; char comm[16]; unsigned long inode; long long size; };
struct seen last;

SEC("tp_btf/sched_switch")
int sched_switch(u64 *ctx)
{
	struct task_struct *next = (void *)ctx[2];
	struct file *exe = next->mm ? next->mm->exe_file : 0;

	last.pid = next->real_parent->tgid;
	if (exe) {
		last.inode = exe->f_inode->i_ino;
		last.size = exe->f_inode->i_size;
	}
	return next->in_iowait;
}
`,
	"relocations": programHead + `
struct task_struct___old { long state; } __attribute__((preserve_access_index));
int sizes[3];
long values[3];

SEC("iter/task")
int each_task(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (!task)
		return 0;
	sizes[0] = __builtin_preserve_type_info(*(struct sock *)0, 1);
	sizes[1] = __builtin_preserve_type_info(*(struct inode *)0, 1);
	sizes[2] = __builtin_preserve_type_info(*(union bpf_attr *)0, 0);
	values[0] = __builtin_preserve_enum_value(*(typeof(enum bpf_map_type) *)BPF_MAP_TYPE_HASH, 1);
	values[1] = __builtin_preserve_field_info(task->exit_code, 0);
	if (__builtin_preserve_field_info(((struct task_struct___old *)0)->state, 2))
		values[2] = __builtin_preserve_access_index(({ ((struct task_struct___old *)task)->state; }));
	return 0;
}
`,
	"kfuncs": programHead + `
int found;

SEC("syscall")
int find(void *ctx)
{
	struct task_struct *init;

	if (!bpf_task_from_pid)
		return -1;
	init = bpf_task_from_pid(1);
	if (init) {
		found = init->pid;
		bpf_task_release(init);
	}
	return bpf_cast_to_kern_ctx(ctx) != 0;
}
`,
	"maps": programHead + `
static void *(*const lookup)(void *map, const void *key) = (void *)1;

struct {
	int (*type)[BPF_MAP_TYPE_HASH];
	int (*max_entries)[16];
	struct in6_addr *key;
	struct tcphdr *value;
} flows SEC(".maps");

SEC("xdp")
int filter(struct xdp_md *ctx)
{
	struct in6_addr key = {};
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct tcphdr *tcp;

	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	key.in6_u.u6_addr32[0] = eth->h_proto;
	tcp = lookup(&flows, &key);
	return tcp && tcp->syn ? XDP_PASS : XDP_ABORTED;
}
`,
}

// contents describes what of an object reaches the kernel, but for its types: all
// sections without debug information, and the relocations of CO-RE.
func contents(t *testing.T, object string) map[string]string {
	t.Helper()
	file, err := elf.Open(object)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	all := make(map[string]string)
	for _, sec := range file.Sections {
		name := strings.TrimPrefix(sec.Name, ".rel")
		// With debug information go its names and symbols. The types have other
		// numbers, as clang numbers declarations in the header's order.
		if strings.HasPrefix(name, ".debug") || strings.HasPrefix(name, ".BTF") || sec.Type == elf.SHT_STRTAB || sec.Type == elf.SHT_SYMTAB {
			continue
		}
		// Relocations count symbols, and so those of debug information; the programs
		// below have them.
		if sec.Type == elf.SHT_REL {
			continue
		}
		var data []byte
		if sec.Type != elf.SHT_NOBITS {
			if data, err = sec.Data(); err != nil {
				t.Fatal(err)
			}
		}
		all[sec.Name] = fmt.Sprintf("%s %s %d %x", sec.Type, sec.Flags, sec.Size, data)
	}
	spec, err := ebpf.LoadCollectionSpec(object)
	if err != nil {
		t.Fatal(err)
	}
	for name, prog := range spec.Programs {
		var b strings.Builder
		for i, ins := range prog.Instructions {
			fmt.Fprintf(&b, "%d %v %s\n", i, ins, localID.ReplaceAllString(fmt.Sprint(btf.CORERelocationMetadata(&ins)), ""))
		}
		all["program "+name] = b.String()
	}
	return all
}

var localID = regexp.MustCompile(`, local_id=\d+`)

// A program compiled with the header of bpftool has the same instructions,
// relocations and types.
func TestObjectsEqualThoseOfBpftool(t *testing.T) {
	command, _ := bpftool.Command(t)
	kernel, err := os.ReadFile(vmlinux)
	if err != nil {
		t.Skip("needs a kernel with BTF")
	}
	types, err := vmlinuxh.Load(kernel, nil)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := types.Header(nil)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := command("btf", "dump", "file", vmlinux, "format", "c").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name, source := range programs {
		t.Run(name, func(t *testing.T) {
			if name == "kfuncs" && !bytes.Contains(theirs, []byte("bpf_task_from_pid(")) {
				t.Skip("needs a kernel whose BTF tags kfuncs")
			}
			compile := func(header []byte) (map[string]string, []btf.Type) {
				dir := t.TempDir()
				if err := os.WriteFile(filepath.Join(dir, "vmlinux.h"), header, 0o666); err != nil {
					t.Fatal(err)
				}
				object := clang(t, []byte(source), dir, name+".bpf.c")
				raw, err := vmlinuxh.Contents(object)
				if err != nil {
					t.Fatal(err)
				}
				return contents(t, object), load(t, raw)
			}
			got, gotTypes := compile(ours)
			want, wantTypes := compile(theirs)
			if len(want) < 3 || !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
				t.Fatalf("has %v, bpftool's has %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
			}
			for part := range want {
				if got[part] != want[part] {
					t.Errorf("%s is\n%s\nbpftool's is\n%s", part, got[part], want[part])
				}
			}
			if len(gotTypes) != len(wantTypes) {
				t.Errorf("has %d types, bpftool's has %d", len(gotTypes), len(wantTypes))
			}
			equal, differences := vmlinuxhtest.Compare(wantTypes, gotTypes)
			_, others := vmlinuxhtest.Compare(gotTypes, wantTypes)
			t.Logf("%d types equal", equal)
			for _, d := range append(differences, others...) {
				t.Error(d)
			}
		})
	}
}
