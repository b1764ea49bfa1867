//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestKernelCommandLine(t *testing.T) {
	for _, tc := range []struct{ config, want string }{
		{"CONFIG_BPF_LSM=y\nCONFIG_LSM=\"yama,apparmor\"\n", " lsm=yama,apparmor,bpf extra=1"},
		{"CONFIG_BPF_LSM=y\nCONFIG_LSM=\"yama,bpf\"\n", "random.trust_cpu=on extra=1"},
		{"CONFIG_LSM=\"yama\"\n", "random.trust_cpu=on extra=1"},
		{"", "random.trust_cpu=on extra=1"},
	} {
		got := kernelCommandLine(&cpu{console: "ttyX"}, []byte(tc.config), []string{"extra=1"})
		if !strings.HasPrefix(got, "console=ttyX ") || !strings.HasSuffix(got, tc.want) {
			t.Errorf("%q: %q does not end in %q", tc.config, got, tc.want)
		}
	}
}

func TestArgs(t *testing.T) {
	c := &cpu{board: "emulated", model: "max", kvmBoard: "real", devices: []string{"-device", "port"}}
	for accel, want := range map[string]string{tcg: "emulated max tcg,thread=single", kvm: "real max kvm"} {
		m := machine{cpu: c, image: "/image", kernelArgs: "a b", memoryMB: 512, cpus: 3}
		args := m.qemuArgs(accel)
		value := func(flag string) string { return args[slices.Index(args, flag)+1] }
		if got := strings.Join([]string{value("-M"), value("-cpu"), value("-accel")}, " "); got != want {
			t.Errorf("%s: %s, want %s", accel, got, want)
		}
		if value("-smp") != "3" || value("-m") != "512" || value("-kernel") != "/image" || value("-append") != "a b" || value("-device") != "port" {
			t.Errorf("%s: %q", accel, args)
		}
	}
}

func TestReadQEMU(t *testing.T) {
	write := func(content string) string {
		path := filepath.Join(t.TempDir(), "qemu.json")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var skip errSkip
	if _, err := readQEMU(write(`{"problem": "install it"}`)); !errors.As(err, &skip) || skip.reason != "needs QEMU: install it" {
		t.Errorf("no QEMU: %v", err)
	}
	if _, err := readQEMU(write(`{"path": "/no/such/qemu"}`)); err == nil || errors.As(err, &skip) || !strings.Contains(err.Error(), "/no/such/qemu") {
		t.Errorf("QEMU that went: %v", err)
	}
	if _, err := readQEMU(write(`{`)); err == nil {
		t.Error("reads a damaged file")
	}
}

func TestLibrariesIn(t *testing.T) {
	got := librariesIn("\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/libc.so.6 (0x2)\n\tlibx.so => not found\n\t/lib64/ld.so (0x3)\n")
	if !slices.Equal(got, []string{"/lib/libc.so.6"}) {
		t.Errorf("%q", got)
	}
}

func TestLastLines(t *testing.T) {
	if got := lastLines([]byte("a\r\nb\n\xff\n\n"), 2); !slices.Equal(got, []string{"b", "?"}) {
		t.Errorf("%q", got)
	}
	if got := lastLines([]byte("\n"), 2); got != nil {
		t.Errorf("%q", got)
	}
}

// What the guest sends is written where the test's results are, and nowhere else.
func TestOpenFile(t *testing.T) {
	dir := t.TempDir()
	s := session{machine: &machine{results: []string{filepath.Join(dir, "out"), filepath.Join(dir, "test.xml")}}}
	defer s.closeFile()
	for path, ok := range map[string]bool{
		"out/a/b":     true,
		"test.xml":    true,
		"other":       false,
		"out/../evil": false,
		"outside":     false,
		"test.xml2":   false,
	} {
		if err := s.openFile(dir + "/" + path); (err == nil) != ok {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// What ends a machine is named as what it is.
func TestEndOfSession(t *testing.T) {
	for _, tc := range []struct {
		started bool
		grace   time.Duration
		signal  os.Signal
		want    string
	}{
		{true, 0, unix.SIGTERM, "ended by the signal terminated"},
		{true, time.Millisecond, unix.SIGTERM, "still running when its time was up"},
		{true, 0, unix.SIGINT, "ended by the signal interrupt"},
		{true, 0, nil, "still running when its time was up"},
		{false, 0, nil, "had not started when the time was up"},
	} {
		m := &machine{grace: tc.grace}
		signals := make(chan os.Signal, 1)
		if tc.signal != nil {
			signals <- tc.signal
		} else {
			m.deadline = time.Now()
		}
		s := session{machine: m, started: tc.started}
		if _, err := s.follow(make(chan frame), signals); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v", tc, err)
		}
	}
}
