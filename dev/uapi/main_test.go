package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const old = `/* enum bpf_map_type { */
enum bpf_map_type {
	BPF_MAP_TYPE_UNSPEC,
	BPF_MAP_TYPE_HASH,
	BPF_MAP_TYPE_CGROUP_STORAGE,
};
enum bpf_prog_type {
	BPF_PROG_TYPE_UNSPEC,
	BPF_PROG_TYPE_KPROBE,
};
#define BPF_F_NO_PREALLOC	(1U << 0)
#define BPF_F_INVALIDATE_HASH	(1ULL << 1)
enum bpf_func_id {
	BPF_FUNC_unspec,
	BPF_FUNC_map_lookup_elem, /* void *(&map, key) */
	__BPF_FUNC_MAX_ID,
};
`

const middle = `
enum bpf_map_type { BPF_MAP_TYPE_UNSPEC, BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_CGROUP_STORAGE };
enum bpf_prog_type { BPF_PROG_TYPE_UNSPEC, BPF_PROG_TYPE_KPROBE };
enum bpf_attach_type { BPF_CGROUP_INET_INGRESS, __MAX_BPF_ATTACH_TYPE };
#define __BPF_FUNC_MAPPER(FN)		\
	FN(unspec),			\
	FN(map_lookup_elem),		\
	FN(loop),

enum { BPF_F_NO_PREALLOC = (1U << 0), BPF_F_MARK = (1U << 1), };
`

const latest = `
enum bpf_map_type {
	BPF_MAP_TYPE_UNSPEC,
	BPF_MAP_TYPE_HASH,
	BPF_MAP_TYPE_CGROUP_STORAGE_DEPRECATED,
	BPF_MAP_TYPE_CGROUP_STORAGE = BPF_MAP_TYPE_CGROUP_STORAGE_DEPRECATED,
	BPF_MAP_TYPE_ARENA = 0x20,
	__MAX_BPF_MAP_TYPE
};
enum bpf_prog_type { BPF_PROG_TYPE_UNSPEC, BPF_PROG_TYPE_KPROBE };
enum bpf_attach_type { BPF_CGROUP_INET_INGRESS };
#define ___BPF_FUNC_MAPPER(FN, ctx...)	\
	FN(unspec, 0, ##ctx)		\
	FN(map_lookup_elem, 1, ##ctx)	\
	FN(loop, 181, ##ctx)		\
	/* */
enum {
	BPF_F_NO_PREALLOC	= (1U << 0),
	BPF_F_LINK		= (1U << 13),
};
`

func TestRun(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var out bytes.Buffer
	// The helper loop has another number in the middle one: it is another helper.
	if err := run([]string{"6.10=" + file("c.h", latest), "4.1=" + file("a.h", old), "6.9=" + file("b.h", middle)}, &out); err != nil {
		t.Fatal(err)
	}
	want := `# Written by dev/uapi. Do not edit.
releases 4.1 6.10
attach_type 0 CGROUP_INET_INGRESS 6.9
helper 1 map_lookup_elem 4.1
helper 2 loop 6.9
helper 181 loop 6.10
map_flag 0 NO_PREALLOC 4.1
map_flag 13 LINK 6.10
map_type 1 HASH 4.1
map_type 2 CGROUP_STORAGE 4.1
map_type 32 ARENA 6.10
prog_type 1 KPROBE 4.1
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	for _, tt := range []struct{ arg, want string }{
		{"6.1", "want VERSION=FILE"},
		{"six=x.h", "six: is not a version"},
		{"6.1=" + filepath.Join(dir, "gone.h"), "no such file"},
		{"6.1=" + file("none.h", "int x;"), "has no enum bpf_prog_type"},
		{"6.1=" + file("bad.h", strings.Replace(middle, "BPF_PROG_TYPE_KPROBE", "BPF_PROG_TYPE_KPROBE = OTHER", 1)), `has the value "OTHER"`},
	} {
		if err := run([]string{tt.arg}, &out); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.arg, err, tt.want)
		}
	}
	if err := run(nil, &out); err == nil {
		t.Error("no headers are taken")
	}
}
