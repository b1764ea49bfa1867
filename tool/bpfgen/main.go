// Bpfgen is the build-time tool of rules_bpf: each action of the build is one of
// its subcommands. It works without Bazel too, from go generate or make.
//
//	bpfgen generate -type event minimal minimal.bpf.c -- -I../headers
//	bpfgen skeleton -package minimal -o minimal.go minimal.bpf.o
//	bpfgen subskeleton -package ratelimit -o ratelimit.go ratelimit.o
//	bpfgen types -package shared -o shared.go -names shared.names edge.bpf.o core.bpf.o
//	bpfgen check -object edge.bpf.o ratelimit.o
//	bpfgen link -o edge.bpf.o edge.o ratelimit.o
//	bpfgen image -o minimal.image minimal.bpf.o
//	bpfgen inspect minimal.bpf.o
//	bpfgen diff old/minimal.bpf.o minimal.bpf.o
//	bpfgen verify -limit xdp_main=insns=200000 minimal.bpf.o
//	bpfgen compile -o minimal.bpf.o -- clang -target bpfel -g -O2 -c minimal.bpf.c
//	bpfgen vmlinux -o vmlinux.h /sys/kernel/btf/vmlinux
//	bpfgen completion bash
//
// An argument @file stands for the lines of the file, one argument each, as
// Bazel writes them for long command lines.
//
// The exit status is 0 or 1 (compile: clang's; diff: 0, 1 for objects that differ, or 2;
// verify: 0, 1 for a program that does not load or is over a limit, or 2), and errors are on
// stderr as "file: symbol: what, and what to do". An output is written when all of it is there,
// and never in part. One that is not a regular file (/dev/stdout, a pipe, a device) is written
// into; a symbolic link to a file is replaced, as cc and go build do.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/rules-bpf/rules_bpf/internal/quote"
	"github.com/rules-bpf/rules_bpf/internal/secdef"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
)

// command is a subcommand.
type command struct {
	name string
	// usage is the command line after the name.
	usage string
	short string
	// more is what help says besides, after the flags: what the outcome is, and examples,
	// which are indented.
	more string
	// run defines its flags in the set, parses the arguments and does the work.
	run func(fs *flag.FlagSet, args []string, std streams) error
	// failed is the exit status of a failure when it is not 1.
	failed int
}

func commands() []command {
	return []command{
		{"generate", generateUsage, "compile BPF programs and write their Go package, for go:generate lines", generateHelp, generate, 0},
		{"skeleton", "-package NAME [-type NAME]... [-subskeleton NAME=IMPORTPATH]... [-types-from IMPORTPATH=NAMES] [-section NAME]... [-legacy-sections] [-elf] -o OUT.go {OBJECT | -link OUT.bpf.o OBJECT... | [-linked] -variant NAME=OBJECT...}", "write the Go package of a BPF object, or of several variants of one", `
The object is one that is linked: what bpfgen link wrote, or clang when there is one C file.
With -link, the objects are linked first.

	bpfgen skeleton -package minimal -o minimal/minimal.go minimal.bpf.o
	bpfgen skeleton -package edge -o edge/edge.go -link edge.bpf.o edge.o ratelimit.o
	bpfgen skeleton -package probe -o probe/probe.go -variant v510=v510/probe.bpf.o -variant v61=v61/probe.bpf.o
`, skeleton, 0},
		{"subskeleton", "-package NAME [-type NAME]... -o OUT.go OBJECT...", "write the Go package of a BPF library", `
The objects are those of the library alone. The package works in each object that it is
linked into: NAME.Open(skel).

	bpfgen subskeleton -package ratelimit -o ratelimit/ratelimit.go ratelimit.o
`, subskeleton, 0},
		{"types", "-package NAME [-type NAME]... -o OUT.go -names OUT OBJECT...", "write a Go package of the types that several BPF objects share", `
The skeletons of the objects import it in place of declaring the types themselves. What
differs between the objects is not in it.

	bpfgen types -package flows -o flows/flows.go -names flows.names edge.bpf.o core.bpf.o
	bpfgen skeleton -package edge -o edge/edge.go -types-from example.com/app/flows=flows.names edge.bpf.o
`, sharedTypes, 0},
		{"check", "-object FINAL [-o STAMP] OBJECT...", "report whether an object has what a library in it needs", `
The objects are those of the library. The check is the one that the library's Go package
makes when it is opened.

	bpfgen check -object edge.bpf.o ratelimit.o
`, check, 0},
		{"link", "-o OUT.bpf.o [-partial] [-allow-undefined PATTERN]... [-section NAME]... [-legacy-sections] [-strict-sections] OBJECT...", "make one BPF object of several", `
	bpfgen link -o edge.bpf.o edge.o ratelimit.o
`, link, 0},
		{"image", "-o OUT.image [-elf] OBJECT", "write a BPF object in the form in which its Go package carries it", `
skeleton.OpenObject reads it at run time.

	bpfgen image -o edge.image edge.bpf.o
`, writeImage, 0},
		{"inspect", "[-json] OBJECT", "say what is in a BPF object, or its image, and what it needs of a kernel", `
For each thing that a kernel must have, the version is the first one with it, and the rule
says how that is known. What no rule covers is unknown, as which kernels have a kfunc.

	bpfgen inspect edge.bpf.o
	bpfgen inspect -json edge.bpf.o | jq .kernel
`, inspectObject, 0},
		{"diff", "[-json] OLD NEW", "say what changes for users of an object's Go package", `
Each change concerns code that uses the package, data that was stored, its behavior, or the
kernel that it needs; or nothing of these. The exit status is 0 when there is none, 1 for some, and 2
for a failure.

	bpfgen diff v1/edge.bpf.o v2/edge.bpf.o
`, diffObjects, diffFailed},
		{"verify", verifyUsage, "load each program of BPF objects by itself, and say what the kernel's verifier makes of it", verifyHelp, verifyObjects, verifyFailed},
		{"compile", "-o OUT.o [-inputs FILE -unused FILE] -- CLANG ARGUMENT...", "run clang, and list the headers that it did not read", `
It is for build systems, which declare what an action may read. The exit status is clang's.
With -bpfgen-args=FILE as the first argument, the lines of FILE stand in its place.

	bpfgen compile -o minimal.o -- clang --target=bpfel -g -O2 -c minimal.bpf.c
`, compile, 0},
		{"vmlinux", "-o OUT [-types NAME,...] [-base KERNEL] [-btf [-object OBJECT]... [-archive]] BTF...", "write a C header, or a part, of the types that a kernel has", `
BTF is a file of raw BTF or an ELF file with it.

	bpfgen vmlinux -o vmlinux.h /sys/kernel/btf/vmlinux
	bpfgen vmlinux -types task_struct,BPF_ANY -o vmlinux.h /sys/kernel/btf/vmlinux
	bpfgen vmlinux -base /sys/kernel/btf/vmlinux -o nf.h /sys/kernel/btf/nf_conntrack

For kernels without BTF, with what an object asks of their types:

	bpfgen vmlinux -btf -object edge.bpf.o -o min.btf vmlinux.btf
	bpfgen vmlinux -btf -archive -object edge.bpf.o -o edge.btfs btfhub-archive/ubuntu
`, vmlinux, 0},
		{"completion", "bash|zsh|fish", "write a script by which a shell completes bpfgen's command lines", `
	bpfgen completion bash > /etc/bash_completion.d/bpfgen
	bpfgen completion zsh > "${fpath[1]}/_bpfgen"
	bpfgen completion fish > ~/.config/fish/completions/bpfgen.fish
`, completion, 0},
	}
}

// streams are where a program that a subcommand runs writes to.
type streams struct {
	stdout, stderr io.Writer
	// location begins what stderr gets of success, "edge/main.go:7: ", where many commands
	// write to one terminal from many directories. A failure names its own.
	location string
}

// warn writes warnings of a file to stderr: what was written is what was asked for, and
// most likely not what was meant.
func (s streams) warn(file string, warnings []string) {
	for _, w := range warnings {
		fmt.Fprintf(s.stderr, "bpfgen: warning: %s%s: %s\n", s.location, quote.Text(file), w)
	}
}

// warnLosses writes warnings about what loaders leave out of a file.
func (s streams) warnLosses(file string, losses []*bpfobj.Loss) {
	for _, loss := range losses {
		s.warn(file, []string{loss.Text})
	}
}

// exitError ends the process with a status other than 1, and without a message:
// the program that had the status has written its own.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func main() {
	os.Exit(run(os.Args[1:], streams{stdout: os.Stdout, stderr: os.Stderr}))
}

// run is main with everything handed in, and the exit status handed out.
func run(args []string, std streams) int {
	err := dispatch(args, std)
	var exit exitError
	var failed *failure
	status := 1
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &failed):
		status = failed.status
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(std.stderr, "bpfgen: %s\n", strings.TrimSuffix(line, "\n"))
	}
	return status
}

// failure is a failure with an exit status other than 1.
type failure struct {
	error
	status int
}

func dispatch(args []string, std streams) error {
	args, err := expandParams(args)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		return errors.New("no subcommand given: see bpfgen help")
	}
	name, args := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		if name == "help" && len(args) > 0 {
			// The help of that command, whatever follows its name.
			name, args = args[0], []string{"-h"}
			break
		}
		_, err := io.WriteString(std.stdout, help())
		return err
	}
	var names []string
	for _, cmd := range commands() {
		if cmd.name == name {
			return runCommand(cmd, args, std)
		}
		names = append(names, cmd.name)
	}
	if closest := secdef.Closest(name, names...); closest != "" {
		return fmt.Errorf("%s: is not a subcommand: did you mean %s?", quote.Name(name), closest)
	}
	return fmt.Errorf("%s: is not a subcommand: see bpfgen help", quote.Name(name))
}

func runCommand(cmd command, args []string, std streams) error {
	fs := flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	// The flag package would print its own messages in its own form.
	fs.SetOutput(io.Discard)
	err := cmd.run(fs, args, std)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(std.stdout, "Bpfgen %s: %s.\n\nusage: bpfgen %s %s\n", cmd.name, cmd.short, cmd.name, cmd.usage)
		if hasFlags(fs) {
			fmt.Fprint(std.stdout, "\nflags:\n")
			fs.SetOutput(std.stdout)
			fs.PrintDefaults()
		}
		io.WriteString(std.stdout, cmd.more)
		return nil
	case errors.As(err, &usageError{}):
		err = fmt.Errorf("%s: %w: usage: bpfgen %s %s", cmd.name, err, cmd.name, cmd.usage)
	}
	var exit exitError
	if err != nil && cmd.failed != 0 && !errors.As(err, &exit) {
		return &failure{err, cmd.failed}
	}
	return err
}

// usageError is a command line that is not right.
type usageError struct{ error }

func hasFlags(fs *flag.FlagSet) bool {
	any := false
	fs.VisitAll(func(*flag.Flag) { any = true })
	return any
}

func help() string {
	var b strings.Builder
	b.WriteString("Bpfgen makes Go packages of BPF objects.\n\nusage: bpfgen COMMAND ARGUMENT...\n\ncommands:\n")
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	for _, cmd := range commands() {
		fmt.Fprintf(w, "  %s\t%s\n", cmd.name, cmd.short)
	}
	w.Flush()
	b.WriteString("\nbpfgen help COMMAND shows its flags and examples. An argument @FILE stands for the lines of FILE.\n")
	return b.String()
}

// parse parses the flags of a subcommand, of which required must be given.
func parse(fs *flag.FlagSet, args []string, required ...string) error {
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return usageError{err}
	}
	for _, name := range required {
		if fs.Lookup(name).Value.String() == "" {
			return usageError{fmt.Errorf("flag -%s is missing", name)}
		}
	}
	return nil
}

// expandParams replaces each argument @file with the lines of the file. Arguments
// from a file are final: one that starts with @ is not a file.
func expandParams(args []string) ([]string, error) {
	var expanded []string
	for i, arg := range args {
		// What comes after -- belongs to another program, which may have its own
		// use for @.
		if arg == "--" {
			return append(expanded, args[i:]...), nil
		}
		file, ok := strings.CutPrefix(arg, "@")
		if !ok {
			expanded = append(expanded, arg)
			continue
		}
		lines, err := readLines(file)
		if err != nil {
			return nil, inFile(file, err)
		}
		expanded = append(expanded, lines...)
	}
	return expanded, nil
}
