//go:build linux

// Command corpus generates a skeleton for every BPF object in a directory, and says
// for how many that worked: a check of the generator against objects that its
// authors did not think of, such as the kernel's selftests.
//
//	go run ./dev/corpus -dir DIRECTORY
//
// The generated code is type-checked for each architecture whose Go compiler
// aligns things in its own way, so all assertions of sizes and offsets are
// evaluated. With -build it also goes through go build and go vet. With bpftool
// on PATH, its skeletons are counted too, and an object for which only bpftool
// makes one is an exception. Every exception is printed with its reason, and
// makes the exit status 1.
//
// With -subskeleton, subskeletons are generated, as if each object were a library.
//
// With -load, which needs root, each object is loaded into the running kernel, with
// libbpf and with the runtime, and what the kernel has of it then is compared: see package
// differential. A difference is an exception too, and so is an object that only libbpf
// loads. A file that -accepted names has lines "object program reason", one for each
// difference that is intended; a line that no longer applies is an exception. With
// -each, the programs of an object that libbpf does not load as a whole are loaded one by
// one. Every load has a process and a mount of bpffs of its own, so that what one pins or
// leaves behind is not there for the next.
//
// The command must run in this repository, whose runtime the generated code is
// compiled against.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// own is the path of this repository's module.
const own = "github.com/rules-bpf/rules_bpf"

var arches = []string{"amd64", "arm64", "386", "arm", "s390x", "riscv64"}

func main() {
	if os.Getenv(serveEnv) != "" {
		if err := serve(os.Args[1], os.Args[2]); err != nil {
			fatal(err)
		}
		return
	}
	dir := flag.String("dir", "", "directory of BPF objects (*.o), searched with its subdirectories")
	bpftool := flag.String("bpftool", "bpftool", "bpftool to compare with, by name or path; none when empty")
	build := flag.Bool("build", false, "run go build and go vet on the generated packages too")
	sub := flag.Bool("subskeleton", false, "generate subskeletons, as if each object were a library")
	load := flag.Bool("load", false, "load the objects into the running kernel, with libbpf and with the runtime, and compare")
	accepted := flag.String("accepted", "", "file of differences between the two that have a reason")
	each := flag.Bool("each", false, "load the programs of what libbpf does not load one by one")
	flag.Parse()
	// Under bazel run, names are relative to where the user is.
	if wd := os.Getenv("BUILD_WORKING_DIRECTORY"); wd != "" {
		if err := os.Chdir(wd); err != nil {
			fatal(err)
		}
	}
	if *dir == "" || flag.NArg() > 0 {
		fatal(errors.New("usage: corpus -dir DIRECTORY [-build] [-load [-accepted FILE] [-each]] [-subskeleton] [-bpftool NAME]"))
	}
	if *load && *sub {
		fatal(errors.New("-load and -subskeleton: a subskeleton is not loaded, but opened in an object"))
	}
	c := &corpus{fset: token.NewFileSet(), kind: "skeleton"}
	if *sub {
		c.kind = "subskeleton"
	}
	var err error
	if c.temporary, err = os.MkdirTemp("", "corpus"); err != nil {
		fatal(err)
	}
	if err := c.buildGenerator(); err != nil {
		fatal(errors.Join(err, os.RemoveAll(c.temporary)))
	}
	c.importer = &cache{importer.ForCompiler(c.fset, "source", nil), make(map[string]*types.Package)}
	if path, err := exec.LookPath(*bpftool); err == nil {
		c.bpftool = path
	}
	if *build {
		c.module = filepath.Join(c.temporary, "module")
		if err := newModule(c.module); err != nil {
			fatal(errors.Join(err, os.RemoveAll(c.temporary)))
		}
	}
	c.load, c.acceptedFile, c.each = *load, *accepted, *each
	err = c.run(*dir)
	// os.Exit runs no deferred calls.
	err = errors.Join(err, os.RemoveAll(c.temporary))
	if err != nil {
		fatal(err)
	}
	if !c.report(os.Stdout) {
		os.Exit(1)
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// cache is an importer that remembers: finding a package's directory takes a run of
// the go command each time.
type cache struct {
	types.Importer
	packages map[string]*types.Package
}

func (c *cache) Import(path string) (*types.Package, error) {
	if pkg := c.packages[path]; pkg != nil {
		return pkg, nil
	}
	pkg, err := c.Importer.Import(path)
	if err == nil {
		c.packages[path] = pkg
	}
	return pkg, err
}

// corpus is a run over all objects.
type corpus struct {
	fset     *token.FileSet
	importer types.Importer
	bpftool  string // path, empty when there is none
	module   string // directory of the generated packages, empty when they are not kept

	// kind is what is generated, as bpftool and bpfgen call it.
	kind string
	// temporary is a directory for all that is written, bpfgen among it.
	temporary, bpfgen string

	// load is true when the objects are loaded, and each when programs are loaded one by one.
	load, each   bool
	acceptedFile string
	paths        []string // of the objects

	objects, bpftoolMade, made, checked int

	// exceptions are the objects that only bpftool has a skeleton for, and those
	// whose generated code is wrong; neither has what no tool takes.
	exceptions, neither []exception
	buildOutput         string
	loads               loads
}

type exception struct {
	object string
	err    error
}

func (c *corpus) run(dir string) error {
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".o" {
			return err
		}
		return c.object(path)
	})
	if err != nil {
		return err
	}
	if c.objects == 0 {
		return fmt.Errorf("%s: has no file *.o", dir)
	}
	if c.module != "" {
		c.buildOutput = c.build()
	}
	if c.load {
		return c.loadAll()
	}
	return nil
}

func (c *corpus) object(path string) error {
	pkg := fmt.Sprintf("p%d", c.objects)
	c.objects++
	c.paths = append(c.paths, path)
	byBpftool := false
	if c.bpftool != "" {
		byBpftool = exec.Command(c.bpftool, "gen", c.kind, path, "name", "obj").Run() == nil
	}
	if byBpftool {
		c.bpftoolMade++
	}
	src, err := c.generate(pkg, path)
	if err != nil {
		if byBpftool || c.bpftool == "" {
			c.exceptions = append(c.exceptions, exception{path, err})
		} else {
			c.neither = append(c.neither, exception{path, err})
		}
		return nil
	}
	c.made++
	if err := c.check(src); err != nil {
		c.exceptions = append(c.exceptions, exception{path, err})
		return nil
	}
	c.checked++
	if c.module == "" {
		return nil
	}
	directory := filepath.Join(c.module, pkg)
	if err := os.Mkdir(directory, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(directory, pkg+".go"), src, 0o644)
}

// buildGenerator builds bpfgen, of whatever this repository has now.
func (c *corpus) buildGenerator() error {
	c.bpfgen = filepath.Join(c.temporary, "bpfgen")
	if out, err := exec.Command("go", "build", "-o", c.bpfgen, own+"/tool/bpfgen").CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s/tool/bpfgen: %w: run this in the repository\n%s", own, err, out)
	}
	return nil
}

// generate returns the Go file that bpfgen writes for an object.
func (c *corpus) generate(pkg, object string) ([]byte, error) {
	out := filepath.Join(c.temporary, "generated.go")
	args := []string{c.kind, "-package", pkg, "-o", out}
	if c.kind == "skeleton" {
		// bpftool does not look at the names of sections. bpfgen takes, when told so, those of
		// programs whose type Go code sets, and those that libbpf took until 1.0.
		args = append(args, "-legacy-sections", "-section", "*")
	}
	cmd := exec.Command(c.bpfgen, append(args, object)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return os.ReadFile(out)
}

// check type-checks a file for every architecture.
func (c *corpus) check(src []byte) error {
	file, err := parser.ParseFile(c.fset, "skeleton.go", src, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, arch := range arches {
		var errs []error
		conf := types.Config{
			Importer: c.importer,
			Sizes:    types.SizesFor("gc", arch),
			Error:    func(err error) { errs = append(errs, fmt.Errorf("%s: %w", arch, err)) },
		}
		// The errors are those that were collected.
		_, _ = conf.Check("skeleton", c.fset, []*ast.File{file}, nil)
		if len(errs) > 0 {
			return errors.Join(errs...)
		}
	}
	return nil
}

// newModule makes a module in dir for the generated packages, with the dependencies
// of the one that this runs in.
func newModule(dir string) error {
	gomod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("go env GOMOD: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(gomod)))
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return err
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		return err
	}
	mod = bytes.Replace(mod, []byte("module "+own), []byte("module corpus"), 1)
	mod = fmt.Appendf(mod, "\nrequire %[1]s v0.0.0\nreplace %[1]s => %[2]s\n", own, root)
	return errors.Join(
		os.Mkdir(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "go.mod"), mod, 0o644),
		os.WriteFile(filepath.Join(dir, "go.sum"), sum, 0o644),
	)
}

// build returns the complaints of go build and go vet.
func (c *corpus) build() string {
	var output strings.Builder
	for _, verb := range []string{"build", "vet"} {
		cmd := exec.Command("go", verb, "-mod=mod", "./...")
		cmd.Dir = c.module
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(&output, "go %s: %v\n%s", verb, err, out)
		}
	}
	return output.String()
}

// report prints the counts, and reports whether there was no exception.
func (c *corpus) report(w io.Writer) bool {
	fmt.Fprintf(w, "%5d objects\n", c.objects)
	if c.bpftool != "" {
		fmt.Fprintf(w, "%5d %ss made by bpftool\n", c.bpftoolMade, c.kind)
	}
	fmt.Fprintf(w, "%5d %ss made by bpfgen\n", c.made, c.kind)
	fmt.Fprintf(w, "%5d of them type-check for %s\n", c.checked, strings.Join(arches, ", "))
	if c.module != "" && c.buildOutput == "" {
		fmt.Fprintf(w, "%5d of them pass go build and go vet\n", c.checked)
	}
	if c.load {
		c.loads.objects.report(w, "objects", c.loads.version)
		if c.each {
			c.loads.programs.report(w, "programs of other objects", c.loads.version)
		}
	}
	list := func(title string, exceptions []exception) {
		if len(exceptions) == 0 {
			return
		}
		fmt.Fprintf(w, "\n%d %s:\n", len(exceptions), title)
		for _, e := range exceptions {
			fmt.Fprintf(w, "%s: %v\n", e.object, e.err)
		}
	}
	list("exceptions", c.exceptions)
	list("differences to libbpf", c.loads.differences)
	list("objects that bpftool does not take either", c.neither)
	if c.buildOutput != "" {
		fmt.Fprintf(w, "\n%s", c.buildOutput)
	}
	for _, line := range c.loads.stale {
		fmt.Fprintf(w, "%s: %s: there is no such difference\n", c.acceptedFile, line)
	}
	return len(c.exceptions) == 0 && len(c.loads.differences) == 0 && len(c.loads.stale) == 0 && c.buildOutput == ""
}

func (n *counts) report(w io.Writer, what, version string) {
	fmt.Fprintf(w, "%5d %s loaded by libbpf %s\n", n.libbpf, what, version)
	fmt.Fprintf(w, "%5d of them loaded by the runtime too\n", n.both)
	fmt.Fprintf(w, "%5d of these without a difference\n", n.equal)
	fmt.Fprintf(w, "%5d %s loaded by the runtime only\n", n.ours, what)
}
