//go:build linux

package main

import (
	"cmp"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/tool/internal/runfiles"
	"github.com/rules-bpf/rules_bpf/tool/internal/vmproto"
)

// bazelGrace is how long a test of Bazel's may take to say where it was when its
// time was up: the Go runtime then prints all goroutines. Bazel waits for 15 s.
const bazelGrace = 10 * time.Second

// A config is what to run. The files in it are paths among the runfiles.
type config struct {
	// Test is the test's executable.
	Test string `json:"test"`
	// Kernel is nil for the kernel of this machine, and the rest is empty then.
	Kernel *kernel `json:"kernel"`
	// KernelArgs come last on the kernel's command line.
	KernelArgs []string `json:"kernel_args"`
	// MemoryMB and CPUCount are the machine's, or 0 for the default.
	MemoryMB int `json:"memory_mb"`
	CPUCount int `json:"cpu_count"`
	// Modules is an archive with kernel modules, or empty.
	Modules string `json:"modules"`
	// Guest is the first program that the kernel runs.
	Guest string `json:"guest"`
	// Files lists the test's own runfiles, one per line.
	Files string `json:"files"`
	// QEMU describes QEMU, see qemu.
	QEMU string `json:"qemu"`
}

type kernel struct {
	// Name is what people call the kernel, as "6.1".
	Name string `json:"name"`
	// Image is what a boot loader loads; Config may be empty.
	Image  string `json:"image"`
	Config string `json:"config"`
	// Problem is why the kernel is not there, and what to do.
	Problem string `json:"problem"`
}

// runConfig runs the configuration in the file, and returns the exit status.
func runConfig(file string, started time.Time) (int, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	var c config
	if err := json.Unmarshal(data, &c); err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	files, err := runfiles.New()
	if err != nil {
		return 0, err
	}
	if c.Kernel == nil {
		return 0, runNative(&c, files)
	}
	return runInVM(&c, files, started)
}

// runNative becomes the test.
func runNative(c *config, files *runfiles.Files) error {
	test, err := files.Path(c.Test)
	if err != nil {
		return err
	}
	if test, err = filepath.Abs(test); err != nil {
		return err
	}
	if err := mayRun(test); err != nil {
		return err
	}
	if err := mayUseBPF(); err != nil {
		return err
	}
	if err := unix.Exec(test, append([]string{test}, os.Args[1:]...), os.Environ()); err != nil {
		return fmt.Errorf("%s: %w", test, err)
	}
	return nil
}

// mayRun returns an errSkip when the executable is for another CPU than this
// machine's, as tests are under --platforms.
func mayRun(test string) error {
	f, err := elf.Open(test)
	if err != nil {
		return fmt.Errorf("%s: %w", test, err)
	}
	defer f.Close()
	self, err := elf.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("/proc/self/exe: %w", err)
	}
	defer self.Close()
	if f.Machine != self.Machine {
		return errSkip{fmt.Sprintf("needs a machine of the cpu that it is built for, %v, and this one's is %v: give it kernels, which run in QEMU", f.Machine, self.Machine)}
	}
	return nil
}

// mayUseBPF returns an errSkip unless this process may create BPF maps.
func mayUseBPF() error {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if errors.Is(err, unix.EPERM) {
		return errSkip{fmt.Sprintf("needs the right to use BPF (uid is %d, want 0): %v", os.Getuid(), err)}
	}
	if errors.Is(err, unix.ENOSYS) {
		return errSkip{fmt.Sprintf("needs a kernel with BPF: %v", err)}
	}
	if err != nil {
		return fmt.Errorf("create a BPF map: %w", err)
	}
	return m.Close()
}

// resultVars are the environment variables with files and directories that a test
// writes for Bazel.
var resultVars = []string{
	"XML_OUTPUT_FILE",
	"TEST_SHARD_STATUS_FILE",
	"TEST_UNDECLARED_OUTPUTS_DIR",
	"TEST_UNDECLARED_OUTPUTS_ANNOTATIONS_DIR",
	"TEST_WARNINGS_OUTPUT_FILE",
	"TEST_INFRASTRUCTURE_FAILURE_FILE",
	"TEST_UNUSED_RUNFILES_LOG_FILE",
	"COVERAGE_OUTPUT_FILE",
	"COVERAGE_DIR",
}

// repoMapping is a file at the top of the runfiles.
const repoMapping = "_repo_mapping"

// dirVars are those with directories that must be there.
var dirVars = []string{
	"TEST_TMPDIR",
	"TMPDIR",
	"TEST_UNDECLARED_OUTPUTS_DIR",
	"TEST_UNDECLARED_OUTPUTS_ANNOTATIONS_DIR",
	"COVERAGE_DIR",
}

// runInVM runs the test in a kernel of its own and returns its exit status.
func runInVM(c *config, files *runfiles.Files, started time.Time) (int, error) {
	if c.Kernel.Problem != "" {
		return 0, errSkip{fmt.Sprintf("needs kernel %s: %s", c.Kernel.Name, c.Kernel.Problem)}
	}
	paths := map[string]string{}
	for _, file := range []string{c.Test, c.Kernel.Image, c.Kernel.Config, c.Modules, c.Guest, c.Files, c.QEMU} {
		if file == "" {
			continue
		}
		path, err := files.Path(file)
		if err != nil {
			return 0, err
		}
		paths[file] = path
	}
	q, err := readQEMU(paths[c.QEMU])
	if err != nil {
		return 0, err
	}
	var deadline time.Time
	if seconds := os.Getenv("TEST_TIMEOUT"); seconds != "" {
		n, err := strconv.Atoi(seconds)
		if err != nil {
			return 0, fmt.Errorf("TEST_TIMEOUT: %w", err)
		}
		deadline = started.Add(time.Duration(n) * time.Second)
	}
	run, list, err := testRun(c, paths[c.Files], started, deadline)
	if err != nil {
		return 0, err
	}
	j := job{
		name:       c.Kernel.Name,
		qemu:       q,
		test:       paths[c.Test],
		image:      paths[c.Kernel.Image],
		config:     paths[c.Kernel.Config],
		guest:      paths[c.Guest],
		kernelArgs: c.KernelArgs,
		memoryMB:   cmp.Or(c.MemoryMB, defaultMemoryMB),
		cpus:       cmp.Or(c.CPUCount, defaultCPUs),
		run:        run,
		deadline:   deadline,
		grace:      bazelGrace,
	}
	if j.cpu, err = cpuOf(j.test); err != nil {
		return 0, err
	}
	if path := paths[c.Modules]; path != "" {
		if j.modules, err = os.ReadFile(path); err != nil {
			return 0, err
		}
	}
	for _, file := range list {
		path, err := files.Path(file)
		if err != nil {
			return 0, err
		}
		j.files.add(filepath.Join(sourceDir(), file), path)
	}
	// Bazel adds it to the runfiles when all others are known, so it is in no list. It says
	// what the names of repositories mean with which look-ups begin.
	if path, err := files.Path(repoMapping); err == nil {
		if _, err := os.Stat(path); err == nil {
			j.files.add(filepath.Join(sourceDir(), repoMapping), path)
		}
	}
	return j.do()
}

// sourceDir is the directory of the runfiles, in the guest.
func sourceDir() string {
	if dir := os.Getenv("TEST_SRCDIR"); dir != "" {
		return dir
	}
	return "/runfiles"
}

// testRun returns what the guest is to do, and the test's runfiles.
func testRun(c *config, listFile string, started, deadline time.Time) (*vmproto.Run, []string, error) {
	list, err := readList(listFile)
	if err != nil {
		return nil, nil, err
	}
	dir := sourceDir()
	workspace := os.Getenv("TEST_WORKSPACE")
	if workspace == "" {
		workspace, _, _ = strings.Cut(c.Test, "/")
	}
	run := &vmproto.Run{
		Args: append([]string{filepath.Join(dir, c.Test)}, os.Args[1:]...),
		Dir:  filepath.Join(dir, workspace),
	}
	for _, v := range os.Environ() {
		// The manifest leads to files of the host.
		if name, _, _ := strings.Cut(v, "="); name != "RUNFILES_MANIFEST_FILE" && name != "RUNFILES_MANIFEST_ONLY" {
			run.Env = append(run.Env, v)
		}
	}
	run.Env = append(run.Env, "RUNFILES_DIR="+dir, "PWD="+run.Dir, "BPF_KERNEL="+c.Kernel.Name)
	run.Dirs = []string{run.Dir}
	for _, name := range dirVars {
		if path := os.Getenv(name); path != "" {
			run.Dirs = append(run.Dirs, path)
		}
	}
	for _, name := range resultVars {
		if path := os.Getenv(name); path != "" {
			run.Dirs = append(run.Dirs, filepath.Dir(path))
			run.Results = append(run.Results, path)
		}
	}
	run.Started = started
	run.Deadline = deadline
	return run, list, nil
}
