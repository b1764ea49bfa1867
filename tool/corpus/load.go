package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// loads are the results of loading all objects.
type loads struct {
	libbpf, skeleton, both int
	missed                 []exception
}

// loadAll loads every object that has a skeleton, by both loaders.
func (c *corpus) loadAll() error {
	driver, err := c.buildDriver()
	if err != nil {
		return err
	}
	for _, g := range c.packages {
		object, err := filepath.Abs(g.object)
		if err != nil {
			return err
		}
		byLibbpf := runDriver(driver, "libbpf", c.bpftool, object)
		bySkeleton := runDriver(driver, "skeleton", g.pkg)
		if errors.Is(byLibbpf, errDriver) || errors.Is(bySkeleton, errDriver) {
			return errors.Join(byLibbpf, bySkeleton)
		}
		switch {
		case byLibbpf == nil && bySkeleton == nil:
			c.loads.libbpf++
			c.loads.both++
		case byLibbpf == nil:
			c.loads.libbpf++
			c.loads.missed = append(c.loads.missed, exception{g.object, bySkeleton})
		case bySkeleton == nil:
			c.loads.skeleton++
		}
	}
	return nil
}

// errDriver is a failure of the driver itself, not of what it loads.
var errDriver = errors.New("cannot prepare to load objects")

// The exit statuses of the driver, by which errors are told apart.
const (
	driverUnfit   = 3
	driverRefused = 4
)

func runDriver(driver string, args ...string) error {
	out, err := exec.Command(driver, args...).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit) && exit.ExitCode() != driverUnfit:
		return errors.New(strings.TrimSpace(string(out)))
	}
	return fmt.Errorf("%w: %w: %s", errDriver, err, strings.TrimSpace(string(out)))
}

// buildDriver builds the program that loads one object, named by its arguments,
// and returns its path.
func (c *corpus) buildDriver() (string, error) {
	folder := filepath.Join(c.module, "driver")
	if err := os.Mkdir(folder, 0o755); err != nil {
		return "", err
	}
	var imports, table strings.Builder
	for _, g := range c.packages {
		fmt.Fprintf(&imports, "\t%q\n", "corpus/"+g.pkg)
		fmt.Fprintf(&table, "\t%[1]q: func() (object, error) { return %[1]s.Open() },\n", g.pkg)
	}
	src := fmt.Sprintf(driverSource, imports.String(), table.String(), driverUnfit, driverRefused)
	if err := os.WriteFile(filepath.Join(folder, "main.go"), []byte(src), 0o644); err != nil {
		return "", err
	}
	path := filepath.Join(c.module, "driver", "driver")
	cmd := exec.Command("go", "build", "-mod=mod", "-o", path, "./driver")
	cmd.Dir = c.module
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

// driverSource is the program. Its mounts are those of a namespace that ends with
// it; libbpf pins maps below /sys/fs/bpf, and bpftool programs where it is told to.
const driverSource = `package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"

%s)

type object interface {
	Load() error
	Close() error
}

var skeletons = map[string]func() (object, error){
%s}

func init() { runtime.LockOSThread() }

func main() {
	const bpffs = "/sys/fs/bpf"
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		exit(%[3]d, "needs root: unshare", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		exit(%[3]d, "mount", err)
	}
	if err := unix.Mount("bpf", bpffs, "bpf", 0, ""); err != nil {
		exit(%[3]d, "mount bpffs", err)
	}
	if os.Args[1] == "libbpf" {
		cmd := exec.Command(os.Args[2], "prog", "loadall", os.Args[3], bpffs+"/programs")
		if out, err := cmd.CombinedOutput(); err != nil {
			exit(%[4]d, string(out), err)
		}
		return
	}
	skel, err := skeletons[os.Args[2]]()
	if err != nil {
		exit(%[4]d, "", err)
	}
	if err := skel.Load(); err != nil {
		exit(%[4]d, "", err)
	}
	if err := skel.Close(); err != nil {
		exit(%[4]d, "", err)
	}
}

func exit(status int, what string, err error) {
	fmt.Fprintln(os.Stderr, what, err)
	os.Exit(status)
}
`
