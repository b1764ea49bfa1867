// Package mounts_test runs the examples where the kernel's file systems are not
// mounted.
package mounts_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// sceneVariable has the name of a scene for this executable, which prepares it and
// then becomes the program in its arguments.
const sceneVariable = "RULES_BPF_SCENE"

// scenes are what a program finds, each in a mount namespace of its own.
var scenes = map[string]func() error{
	// As on a machine where nobody has mounted anything for tracing.
	"nothing mounted": unmountAll,
	// As in a container: none of them, and no place to mount them at.
	"read-only sys": func() error {
		if err := unmountAll(); err != nil {
			return err
		}
		if err := unix.Mount("/sys", "/sys", "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("bind /sys: %w", err)
		}
		if err := unix.Mount("", "/sys", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("remount /sys: %w", err)
		}
		var st unix.Statfs_t
		if err := unix.Statfs("/sys", &st); err != nil || st.Flags&unix.ST_RDONLY == 0 {
			return fmt.Errorf("/sys is not read-only: flags %#x, %v", st.Flags, err)
		}
		return nil
	},
}

// fileSystems are those that nobody has to mount for us.
var fileSystems = []string{"tracefs", "debugfs", "bpf", "securityfs"}

// unmountAll unmounts every one of fileSystems.
func unmountAll() error {
	mounts, err := os.ReadFile("/proc/thread-self/mounts")
	if err != nil {
		return err
	}
	for _, line := range slices.Backward(strings.Split(string(mounts), "\n")) {
		f := strings.Fields(line)
		if len(f) < 3 || !slices.Contains(fileSystems, f[2]) {
			continue
		}
		if err := unix.Unmount(f[1], unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", f[1], err)
		}
	}
	for _, dir := range []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && int64(st.Type) == unix.TRACEFS_MAGIC {
			return fmt.Errorf("%s is mounted", dir)
		}
	}
	return nil
}

func TestMain(m *testing.M) {
	if scene := os.Getenv(sceneVariable); scene != "" {
		fmt.Fprintln(os.Stderr, becomeProgram(scene))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func becomeProgram(scene string) error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	// What happens here must not reach others. The root of the first file system of
	// all cannot be changed so, and needs not: nothing shares it.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := scenes[scene](); err != nil {
		return err
	}
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, sceneVariable+"=") })
	return syscall.Exec(os.Args[1], os.Args[1:], env)
}

// arguments of the examples that differ from those of most.
var arguments = map[string][]string{
	"kconfig":   {},
	"lsm":       {"-for", "300ms", "-dir", os.TempDir()},
	"ratelimit": {"-for", "300ms", "-iface", "lo"},
}

// lacks is what examples may lack in some kernel or machine of the tests, and say so.
var lacks = map[string]string{
	// Package link attaches it, which looks for a mounted tracefs only.
	"before": `neither debugfs nor tracefs are mounted`,
	// Linux 6.4.
	"congestion":  `the kernel has no links for struct_ops maps`,
	"funclatency": `refused by this kernel, though the process has CAP_BPF and CAP_PERFMON`,
	"lsm":         `refused by this kernel, though the process has CAP_BPF and CAP_PERFMON`,
	// Linux 6.6.
	"tc": `attach to a clsact qdisc`,
	// The machines that QEMU boots have no C library.
	"usertrace": `"libc.so.6" is not in any of the directories`,
}

func TestExamples(t *testing.T) {
	bpftest.NeedsBPF(t)
	for scene := range scenes {
		t.Run(scene, func(t *testing.T) {
			for _, file := range strings.Fields(os.Getenv("EXAMPLES")) {
				name := path.Base(file)
				t.Run(name, func(t *testing.T) { runExample(t, scene, name, file) })
			}
		})
	}
}

func runExample(t *testing.T, scene, name, file string) {
	program, err := runfiles.Rlocation(file)
	if err != nil {
		t.Fatal(err)
	}
	args, ok := arguments[name]
	if !ok {
		args = []string{"-for", "300ms"}
	}
	cmd := exec.Command("/proc/self/exe", append([]string{program}, args...)...)
	cmd.Env = append(os.Environ(), sceneVariable+"="+scene)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return
	}
	if lack := lacks[name]; lack != "" && regexp.MustCompile(lack).Match(out) {
		t.Logf("lacks something, and says so: %s", out)
		return
	}
	t.Errorf("%v\n%s", err, out)
}
