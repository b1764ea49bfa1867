package main

import (
	"flag"
	"fmt"
	"strings"

	"github.com/rules-bpf/rules_bpf/tool/internal/verify"
)

// The exit statuses of verify. 0 is for programs that all load, within their limits, or need
// not.
const (
	notVerified  = 1
	verifyFailed = 2
)

const verifyUsage = "[-json] [-html FILE] [-limit PROGRAM=FIGURE=NUMBER,...]... [-may-fail 'PROGRAM: REASON']... [-preset NAME=FILE]... [-program NAME]... [-section PROGRAM=SECTION]... [-target PROGRAM=TARGET]... [-max-entries N] [-btf FILE] [-kernel NAME] OBJECT..."

const verifyHelp = `
It runs on Linux and needs the right to use BPF. Each program is loaded by itself, and closed
again: no pin is made, and nothing is attached or registered. The figures are those of
veristat. A program for which the kernel lacks a helper, a kfunc, a type of programs or maps or
what it attaches to is "not applicable", and no failure.

Figures to be limited are insns, states, peak_states, max_states_per_insn, stack, jited, ns and
memory. A * in the name of a program stands for any letters.

The file of a preset has values of const volatile variables, sizes of maps and names of
programs, {"variables": {"a": 1}, "maps": {"m": 64}, "programs": ["p"]}, or is what bpftool -j map
dump prints of a map .rodata.

The exit status is 0 when all programs load that are not said to fail, 1 when one is rejected
or over a limit, and 2 for a failure.

	bpfgen verify edge.bpf.o
	bpfgen verify -limit xdp_main=insns=200000,stack=400 -html edge.html edge.bpf.o
	bpfgen verify -preset small=small.json -preset production=rodata.json edge.bpf.o
	bpfgen verify -target policy_v2=edge.bpf.o:xdp_main:policy policy.bpf.o
	bpfgen verify -json edge.bpf.o | jq '.results[] | select(.verdict == "rejected")'
`

func verifyObjects(fs *flag.FlagSet, args []string, std streams) error {
	o := verify.Options{Sections: map[string]string{}, Targets: map[string]string{}}
	asJSON := fs.Bool("json", false, "write JSON, for programs")
	page := fs.String("html", "", "also write a page for browsers to `file`")
	fs.Func("limit", "what a program may take, as `limits`: xdp_main=insns=200000,stack=400", func(text string) error {
		limits, err := verify.ParseLimit(text)
		o.Limits = append(o.Limits, limits...)
		return err
	})
	fs.Func("may-fail", "a `program` that need not load nor keep its limits, and why: PROGRAM: REASON", func(text string) error {
		e, err := verify.ParseException(text)
		o.MayFail = append(o.MayFail, e)
		return err
	})
	var presets []string
	fs.Func("preset", "a `preset` to load the objects with: NAME=FILE", func(text string) error {
		presets = append(presets, text)
		return nil
	})
	fs.Func("program", "`name` of the programs to load; all unless given", func(name string) error {
		o.Programs = append(o.Programs, name)
		return nil
	})
	fs.Func("section", "what a `program` has in place of its SEC(): PROGRAM=SECTION", func(text string) error {
		return verify.ParsePair(text, o.Sections)
	})
	fs.Func("target", "what a `program` replaces or traces: PROGRAM=OBJECT:PROGRAM, or what it is of struct_ops: PROGRAM=TYPE.MEMBER", func(text string) error {
		return verify.ParsePair(text, o.Targets)
	})
	most := fs.Uint("max-entries", verify.DefaultMaxEntries, "the `number` of elements that maps are made for at most; 0 is no limit")
	fs.StringVar(&o.KernelTypes, "btf", "", "`file` with the types of a kernel that has no BTF; raw BTF, or an archive of bpfgen vmlinux")
	fs.StringVar(&o.Kernel, "kernel", "", "what to call the kernel; a `name` like 6.12")
	if err := parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		return usageError{fmt.Errorf("no object given")}
	}
	o.Objects = fs.Args()
	if uint64(*most) > 1<<32-1 {
		return usageError{fmt.Errorf("-max-entries %d: no map has as many", *most)}
	}
	o.MaxEntries = uint32(*most)
	for _, text := range presets {
		name, file, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return usageError{fmt.Errorf("-preset %s: want NAME=FILE", text)}
		}
		p, err := verify.ReadPreset(name, file)
		if err != nil {
			return err
		}
		o.Presets = append(o.Presets, p)
	}
	report, err := verify.Run(o)
	if err != nil {
		return err
	}
	if *page != "" {
		if err := writeFile(*page, verify.Page(report)); err != nil {
			return err
		}
	}
	text := report.Text()
	if *asJSON {
		if text, err = report.JSON(); err != nil {
			return err
		}
	}
	if _, err := std.stdout.Write(text); err != nil {
		return err
	}
	problems := report.Problems()
	for _, p := range problems {
		fmt.Fprintf(std.stderr, "bpfgen: %s\n", p)
	}
	if len(problems) > 0 {
		return exitError(notVerified)
	}
	return nil
}
