package main

import (
	"os/exec"
	"strings"
	"testing"
)

// Each flag of each command is in the script of each shell.
func TestCompletionScripts(t *testing.T) {
	for shell := range shells {
		script, errs, status := bpfgen("completion", shell)
		if status != 0 || errs != "" {
			t.Fatalf("%s: status %d, %s", shell, status, errs)
		}
		for _, c := range completions() {
			if !strings.Contains(script, c.name) {
				t.Errorf("%s: has no command %s", shell, c.name)
			}
			if len(c.flags) == 0 && c.words == nil {
				t.Errorf("%s: has no flags and no words", c.name)
			}
			for _, f := range c.flags {
				if option := map[string]string{"bash": "-" + f.name, "zsh": "*-" + f.name + "[", "fish": "-o " + f.name + " "}[shell]; !strings.Contains(script, option) {
					t.Errorf("%s: has no flag %s of %s", shell, f.name, c.name)
				}
			}
		}
		// The shell reads it.
		path, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		cmd := exec.Command(path, "-n")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", shell, err, out)
		}
	}
	for _, args := range [][]string{nil, {"csh"}, {"bash", "zsh"}} {
		if _, errs, status := bpfgen(append([]string{"completion"}, args...)...); status != 1 || errs != "bpfgen: completion: want the name of a shell: usage: bpfgen completion bash|zsh|fish\n" {
			t.Errorf("%q: status %d, %s", args, status, errs)
		}
	}
}

func TestCompletionInBash(t *testing.T) {
	path, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("needs bash")
	}
	script, _, _ := bpfgen("completion", "bash")
	for line, want := range map[string]string{
		"bpfgen li":                   "link",
		"bpfgen ":                     "generate skeleton subskeleton types check link image inspect diff verify compile vmlinux completion help",
		"bpfgen link -s":              "-section -strict-sections",
		"bpfgen link -o x -a":         "-allow-undefined",
		"bpfgen link a":               "",
		"bpfgen generate -target mip": "mips mipsle mips64 mips64le",
		"bpfgen completion f":         "fish",
		"bpfgen help va":              "",
		"bpfgen help vm":              "vmlinux",
		"bpfgen nothing -":            "",
	} {
		words := strings.Split(line, " ")
		cmd := exec.Command(path, append([]string{"-c", script + "\nCOMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _bpfgen; echo \"${COMPREPLY[*]}\"", "bash"}, words...)...)
		out, err := cmd.CombinedOutput()
		got := strings.Fields(string(out))
		wanted := strings.Fields(want)
		if err != nil || len(got) != len(wanted) {
			t.Errorf("%q: %v, %q, want %q", line, err, got, wanted)
			continue
		}
		for _, word := range wanted {
			if !strings.Contains(" "+strings.Join(got, " ")+" ", " "+word+" ") {
				t.Errorf("%q: %q, want %q", line, got, wanted)
			}
		}
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"-h"}, {"--help"}} {
		if out, errs, status := bpfgen(args...); status != 0 || errs != "" || !strings.Contains(out, "usage: bpfgen COMMAND ARGUMENT...") {
			t.Errorf("%q: status %d, stdout %q, stderr %q", args, status, out, errs)
		}
	}
	for _, cmd := range commands() {
		short, _, _ := bpfgen(cmd.name, "-h")
		if !strings.Contains(short, "usage: bpfgen "+cmd.name+" "+cmd.usage) || cmd.name != "completion" && !strings.Contains(short, "flags:\n  -") {
			t.Errorf("%s -h: %s", cmd.name, short)
		}
		if out, errs, status := bpfgen("help", cmd.name); status != 0 || errs != "" || out != short {
			t.Errorf("%s: status %d, %s%s", cmd.name, status, errs, out)
		}
		if !strings.Contains(short, "bpfgen "+cmd.name+" ") || !strings.Contains(cmd.more, "bpfgen "+cmd.name+" ") {
			t.Errorf("%s: has no example:\n%s", cmd.name, short)
		}
		if all, _, _ := bpfgen("help"); !strings.Contains(all, cmd.short) {
			t.Errorf("help has no %s", cmd.name)
		}
	}
	for name, want := range map[string]string{
		"lnik": "bpfgen: lnik: is not a subcommand: did you mean link?\n",
		"x\n":  "bpfgen: \"x\\n\": is not a subcommand: see bpfgen help\n",
	} {
		for _, args := range [][]string{{name}, {"help", name}} {
			if _, errs, status := bpfgen(args...); status != 1 || errs != want {
				t.Errorf("%q: status %d, %q, want %q", args, status, errs, want)
			}
		}
	}
}
