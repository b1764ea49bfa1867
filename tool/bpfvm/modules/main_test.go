package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/tool/internal/vmproto"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// What a kernel has built in is not packed: the archive has an empty list.
func TestRun(t *testing.T) {
	builtin := write(t, "modules.builtin", "kernel/drivers/net/veth.ko\n")
	out := filepath.Join(t.TempDir(), "modules.cpio")
	params := write(t, "params", strings.Join([]string{"-o", out, "-names", "veth", builtin}, "\n")+"\n")
	if err := run([]string{"@" + params}); err != nil {
		t.Fatal(err)
	}
	archive, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(archive, []byte("070701")) || !bytes.Contains(archive, []byte(strings.TrimPrefix(vmproto.ModulesFile, "/"))) {
		t.Errorf("not an archive with %s: %q", vmproto.ModulesFile, archive)
	}
}

func TestErrors(t *testing.T) {
	builtin := write(t, "modules.builtin", "")
	out := filepath.Join(t.TempDir(), "modules.cpio")
	for want, args := range map[string][]string{
		"-o and -names are required":       {builtin},
		`the kernel has no module "veth"`:  {"-o", out, "-names", "veth", builtin},
		"no such file or directory":        {"@" + out},
		"x.ko: not a kernel module":        {"-o", out, "-names", "x", write(t, "x.ko", "no such file")},
		"flag provided but not defined: -": {"-x"},
	} {
		if err := run(args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", args, err, want)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a failure leaves an output")
	}
}
