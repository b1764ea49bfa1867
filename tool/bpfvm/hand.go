//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rules-bpf/rules_bpf/tool/internal/kmod"
	"github.com/rules-bpf/rules_bpf/tool/internal/vmproto"
)

const usage = `Bpfvm runs a test in a kernel that QEMU boots, and exits with its status.

    bpfvm -kernel IMAGE [flags] -- TEST [arguments]
    go test -exec 'bpfvm -kernel IMAGE [flags] --' ./...

The test is an executable for Linux. Its CPU is the kernel's: for a kernel of
another machine, build it with GOARCH=arm64, riscv64 or s390x. It finds itself and
the directory testdata of the current directory at their paths, and no other file that -file
does not name. It has the environment of bpfvm.

bpfvm report and bpfvm merge are for reports of bpfgen verify and bpf_verifier_test:
bpfvm report -h says more.

`

// handFlags are the flags of the command.
type handFlags struct {
	kernel, config, modules, load, append, qemu string
	memory, cpus                                int
	timeout                                     time.Duration
	files                                       []string
}

func parseHand(args []string) (*handFlags, []string, error) {
	f := &handFlags{memory: defaultMemoryMB, cpus: defaultCPUs}
	set := flag.NewFlagSet("bpfvm", flag.ContinueOnError)
	set.StringVar(&f.kernel, "kernel", "", "the kernel: an `image` as a boot loader loads it (vmlinuz, bzImage, Image), or the directory of a distribution's unpacked package")
	set.StringVar(&f.config, "config", "", "`file` with the kernel's configuration; by default the one beside the image, if any")
	set.StringVar(&f.modules, "modules", "", "`directory` of the kernel's modules; by default the one beside the image, if any")
	set.StringVar(&f.load, "load", "", "`names` of kernel modules to load before the test, with commas between; what they need is loaded too")
	set.StringVar(&f.append, "append", "", "`arguments` that come last on the kernel's command line")
	set.IntVar(&f.memory, "memory", f.memory, "memory of the machine in `MB`; it holds the test's files as well")
	set.IntVar(&f.cpus, "cpus", f.cpus, "`number` of CPUs of the machine")
	set.DurationVar(&f.timeout, "timeout", 0, "time after which kernel and test are ended, as a `duration` such as 5m; 0 is for none")
	set.StringVar(&f.qemu, "qemu", "", "QEMU's `executable` for the CPU; by default the one on PATH")
	set.Func("file", "`path` of a file or directory that the test finds at the same path; may be given more than once", func(path string) error {
		f.files = append(f.files, path)
		return nil
	})
	set.Usage = func() {
		fmt.Fprint(set.Output(), usage)
		set.PrintDefaults()
	}
	if err := set.Parse(args); err != nil {
		return nil, nil, err
	}
	switch {
	case f.kernel == "":
		return nil, nil, errors.New("needs a kernel: bpfvm -kernel IMAGE -- TEST (bpfvm -help says more)")
	case set.NArg() == 0:
		return nil, nil, errors.New("needs a test to run: bpfvm -kernel IMAGE -- TEST (bpfvm -help says more)")
	case f.memory < 1 || f.cpus < 1 || f.timeout < 0:
		return nil, nil, errors.New("-memory and -cpus are 1 at least, and -timeout is not negative")
	}
	return f, set.Args(), nil
}

// runByHand runs the command line, and returns the exit status.
func runByHand(args []string, started time.Time) (int, error) {
	f, command, err := parseHand(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	j, err := f.job(command, started)
	if err != nil {
		return 0, err
	}
	return j.do()
}

func (f *handFlags) job(command []string, started time.Time) (*job, error) {
	test, err := exec.LookPath(command[0])
	if err != nil {
		return nil, err
	}
	if test, err = filepath.Abs(test); err != nil {
		return nil, err
	}
	j := &job{test: test, memoryMB: f.memory, cpus: f.cpus, kernelArgs: strings.Fields(f.append)}
	if f.timeout > 0 {
		j.deadline = started.Add(f.timeout)
	}
	if j.cpu, err = cpuOf(test); err != nil {
		return nil, err
	}
	modules, err := f.findKernel(j)
	if err != nil {
		return nil, err
	}
	if f.load != "" {
		if j.modules, err = packModules(modules, strings.Split(f.load, ",")); err != nil {
			return nil, err
		}
	}
	if j.qemu = f.qemu; j.qemu == "" {
		e := j.cpu.emulator()
		if j.qemu, err = exec.LookPath(e.QEMU); err != nil {
			return nil, fmt.Errorf("needs QEMU for %s: %w: install it (%s), or name it with -qemu", j.cpu.name, err, e.Packages)
		}
	}
	if j.guest, err = builtGuest(j.cpu); err != nil {
		return nil, err
	}
	j.run, err = handRun(test, command[1:])
	if err != nil {
		return nil, err
	}
	j.files.add(test, test)
	if testdata := filepath.Join(j.run.Dir, "testdata"); isDir(testdata) {
		j.files.add(testdata, testdata)
	}
	for _, file := range f.files {
		path, err := filepath.Abs(file)
		if err != nil {
			return nil, err
		}
		j.files.add(path, path)
	}
	return j, nil
}

// findKernel sets what the job needs of the kernel, and returns the directory of its
// modules, or "".
func (f *handFlags) findKernel(j *job) (modules string, err error) {
	info, err := os.Stat(f.kernel)
	if err != nil {
		return "", fmt.Errorf("-kernel: %w", err)
	}
	j.image = f.kernel
	if info.IsDir() {
		if j.image, err = imageIn(f.kernel); err != nil {
			return "", err
		}
	}
	j.name = f.kernel
	config, modules := beside(j.image)
	if j.config = f.config; j.config == "" {
		j.config = config
	}
	if f.modules != "" {
		if !isDir(f.modules) {
			return "", fmt.Errorf("-modules %s: is no directory", f.modules)
		}
		return f.modules, nil
	}
	return modules, nil
}

// imageIn returns the kernel in the directory of an unpacked package.
func imageIn(directory string) (string, error) {
	var images []string
	// Beside a vmlinuz, a vmlinux is for debuggers. The kernels of riscv64 are called so.
	for _, name := range []string{"vmlinuz", "vmlinux"} {
		for _, pattern := range []string{"boot/" + name + "-*", "usr/lib/modules/*/" + name, "lib/modules/*/" + name} {
			found, err := filepath.Glob(filepath.Join(escapeGlob(directory), pattern))
			if err != nil {
				return "", err
			}
			images = append(images, found...)
		}
		if len(images) > 0 {
			break
		}
	}
	// lib may be a link to usr/lib.
	slices.SortFunc(images, strings.Compare)
	images = slices.CompactFunc(images, func(a, b string) bool {
		one, err1 := os.Stat(a)
		two, err2 := os.Stat(b)
		return err1 == nil && err2 == nil && os.SameFile(one, two)
	})
	switch len(images) {
	case 0:
		return "", fmt.Errorf("-kernel %s: has no boot/vmlinuz-* and no lib/modules/*/vmlinuz: name the kernel's image, or the directory of its unpacked package", directory)
	case 1:
		return images[0], nil
	}
	return "", fmt.Errorf("-kernel %s: has more than one kernel: name one of %s", directory, strings.Join(images, ", "))
}

// escapeGlob returns a pattern that matches the path alone.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// beside returns the configuration and the directory of modules that distributions
// put beside a kernel, as far as they are there.
func beside(image string) (config, modules string) {
	dir, name := filepath.Split(image)
	if name == "vmlinuz" || name == "vmlinux" {
		config = filepath.Join(dir, "config")
		modules = filepath.Clean(dir)
		if !isDir(filepath.Join(modules, "kernel")) {
			modules = ""
		}
	} else if _, release, ok := strings.Cut(name, "-"); ok {
		config = filepath.Join(dir, "config-"+release)
		for _, parent := range []string{"../usr/lib/modules", "../lib/modules"} {
			if path := filepath.Join(dir, parent, release); isDir(path) {
				modules = path
				break
			}
		}
	}
	if info, err := os.Stat(config); err != nil || !info.Mode().IsRegular() {
		config = ""
	}
	return config, modules
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func packModules(directory string, names []string) ([]byte, error) {
	if directory == "" {
		return nil, errors.New("-load needs the kernel's modules: set -modules to their directory (lib/modules/RELEASE)")
	}
	var files []string
	err := filepath.WalkDir(directory, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	data, err := kmod.Archive(files, names)
	if err != nil {
		return nil, fmt.Errorf("-load: %w", err)
	}
	return data, nil
}

// resultFlags are the flags of a Go test with files that it writes, in the directory of
// -test.outputdir. What it writes to -test.testlogfile stays where it is: by it
// `go test` takes a result from its cache, in which there is nothing of the kernel.
var resultFlags = []string{"blockprofile", "coverprofile", "cpuprofile", "memprofile", "mutexprofile", "trace"}

// handRun returns what the guest is to do.
func handRun(test string, args []string) (*vmproto.Run, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	run := &vmproto.Run{
		Args: append([]string{test}, args...),
		Dir:  dir,
		Env:  append(os.Environ(), "PWD="+dir),
		Dirs: []string{dir, os.TempDir()},
	}
	flags := testFlags(args)
	outputs := dir
	if directory := flags["outputdir"]; directory != "" {
		outputs = absolute(dir, directory)
		run.Dirs = append(run.Dirs, outputs)
	}
	for _, name := range resultFlags {
		if file := flags[name]; file != "" {
			run.Results = append(run.Results, absolute(outputs, file))
		}
	}
	for _, directory := range []string{flags["gocoverdir"], os.Getenv("GOCOVERDIR")} {
		if directory != "" {
			run.Dirs = append(run.Dirs, absolute(dir, directory))
			run.Results = append(run.Results, absolute(dir, directory))
		}
	}
	if file := flags["testlogfile"]; file != "" {
		run.Dirs = append(run.Dirs, filepath.Dir(absolute(dir, file)))
	}
	for _, result := range run.Results {
		run.Dirs = append(run.Dirs, filepath.Dir(result))
	}
	return run, nil
}

func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

// testFlags returns the values of the flags of a Go test, by their names without
// "test.".
func testFlags(args []string) map[string]string {
	flags := map[string]string{}
	for i, arg := range args {
		if arg == "--" {
			break
		}
		// With one dash or two.
		name, ok := strings.CutPrefix("-"+strings.TrimLeft(arg, "-"), "-test.")
		if !ok {
			continue
		}
		if name, value, ok := strings.Cut(name, "="); ok {
			flags[name] = value
		} else if i+1 < len(args) {
			flags[name] = args[i+1]
		}
	}
	return flags
}
