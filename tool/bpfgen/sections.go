package main

import (
	"debug/elf"
	"errors"
	"flag"

	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/sections"
)

// sectionFlags defines the flags for the sections that programs may be in.
func sectionFlags(fs *flag.FlagSet) *sections.Policy {
	policy := new(sections.Policy)
	fs.Func("section", "`name` of a section of your own, whose programs have no type until Go code calls SetType; * stands for any characters; may be repeated", func(name string) error {
		policy.Own = append(policy.Own, name)
		return nil
	})
	fs.BoolVar(&policy.Legacy, "legacy-sections", false, "take section names that libbpf took by their prefix until 1.0, as tc_ingress and socket1, with a warning")
	return policy
}

// checkSections looks at the sections of programs. A problem is an error when strict is
// set, and a warning otherwise.
func checkSections(std streams, file string, policy *sections.Policy, programs []bpfobj.Program, strict bool) error {
	var errs []error
	var warnings []string
	for _, p := range programs {
		problem, warning := policy.Check(p.Name, p.Section)
		switch {
		case problem != "" && strict:
			errs = append(errs, errors.New(problem))
		case problem != "":
			warnings = append(warnings, problem)
		case warning != "":
			warnings = append(warnings, warning)
		}
	}
	std.warn(file, warnings)
	if errs != nil {
		return inFile(file, errors.Join(errs...))
	}
	return nil
}

// linkedPrograms returns the programs of an object that the linker has made.
func linkedPrograms(object []byte) ([]bpfobj.Program, error) {
	file, err := elfobj.Parse(object)
	if err != nil {
		return nil, err
	}
	var programs []bpfobj.Program
	for _, sec := range file.Sections {
		if sec.Flags&elf.SHF_EXECINSTR == 0 || sec.Name == ".text" {
			continue
		}
		for _, sym := range file.Symbols {
			if sym.Section == sec && sym.Type == elf.STT_FUNC && sym.Bind != elf.STB_LOCAL {
				programs = append(programs, bpfobj.Program{Name: sym.Name, Section: sec.Name})
			}
		}
	}
	return programs, nil
}
