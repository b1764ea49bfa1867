package main

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

func TestRun(t *testing.T) {
	bpftest.NeedsBPF(t)
	var out bytes.Buffer
	err := run(&out)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("needs the kernel's configuration: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"CONFIG_BPF_SYSCALL       true", "CONFIG_NO_SUCH_SETTING   0", "a jiffy is               "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "a jiffy is               0s") {
		t.Errorf("the program saw no CONFIG_HZ:\n%s", out.String())
	}
}
