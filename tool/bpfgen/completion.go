package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/rules-bpf/rules_bpf/tool/internal/bpftarget"
)

// shells are those that completion is for, and what writes their scripts.
var shells = map[string]func(w io.Writer, cmds []completed){"bash": bash, "zsh": zsh, "fish": fish}

func completion(fs *flag.FlagSet, args []string, std streams) error {
	if err := parse(fs, args); err != nil {
		return err
	}
	write := shells[fs.Arg(0)]
	if fs.NArg() != 1 || write == nil {
		return usageError{errors.New("want the name of a shell")}
	}
	var b strings.Builder
	write(&b, completions())
	_, err := io.WriteString(std.stdout, b.String())
	return err
}

// completed is a command as shells complete it.
type completed struct {
	name, short string
	flags       []completedFlag
	// words complete the first argument that is not a flag, when it is not a file.
	words []string
}

// completedFlag is a flag of a command.
type completedFlag struct {
	name, about string
	// takes is what the flag's value is called, empty for a flag without one.
	takes string
	// words are all values of the flag, nil when its value is a file or a name.
	words []string
}

// completions are the commands with their flags, as their flag sets have them.
func completions() []completed {
	var all []completed
	for _, cmd := range commands() {
		c := completed{name: cmd.name, short: cmd.short}
		if cmd.name == "completion" {
			c.words = []string{"bash", "zsh", "fish"}
		} else {
			fs := flag.NewFlagSet(cmd.name, flag.ContinueOnError)
			fs.SetOutput(io.Discard)
			// Asked for help, it defines its flags, and does nothing.
			_ = cmd.run(fs, []string{"-h"}, streams{stdout: io.Discard, stderr: io.Discard})
			fs.VisitAll(func(f *flag.Flag) {
				takes, about := flag.UnquoteUsage(f)
				about, _, _ = strings.Cut(about, ";")
				about, _, _ = strings.Cut(about, ": ")
				entry := completedFlag{name: f.Name, about: about, takes: takes}
				if f.Name == "target" {
					entry.words = strings.Split(bpftarget.Names(), ", ")
				}
				c.flags = append(c.flags, entry)
			})
		}
		all = append(all, c)
	}
	var names []string
	for _, c := range all {
		names = append(names, c.name)
	}
	return append(all, completed{name: "help", short: "show the flags of a command, and examples", words: names})
}

// shellQuote quotes text for bash and zsh.
func shellQuote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

func bash(w io.Writer, cmds []completed) {
	var names []string
	for _, c := range cmds {
		names = append(names, c.name)
	}
	fmt.Fprintf(w, `# bash completion for bpfgen: source it, or put it where bash-completion looks.
_bpfgen() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=
	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		COMPREPLY=($(compgen -W %s -- "$cur"))
		return
	fi
	case ${COMP_WORDS[1]} in
`, shellQuote(strings.Join(names, " ")))
	for _, c := range cmds {
		fmt.Fprintf(w, "\t%s)\n", c.name)
		var flags []string
		for _, f := range c.flags {
			flags = append(flags, "-"+f.name)
			if f.words != nil {
				fmt.Fprintf(w, "\t\t[[ $prev == -%s ]] && words=%s\n", f.name, shellQuote(strings.Join(f.words, " ")))
			}
		}
		if c.words != nil {
			fmt.Fprintf(w, "\t\twords=%s\n", shellQuote(strings.Join(c.words, " ")))
		}
		fmt.Fprintf(w, "\t\t[[ $cur == -* ]] && words=%s\n\t\t;;\n", shellQuote(strings.Join(append(flags, "-h"), " ")))
	}
	fmt.Fprint(w, `	esac
	# Without words, files are what -o default offers.
	[[ -n $words ]] && COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _bpfgen bpfgen
`)
}

func zsh(w io.Writer, cmds []completed) {
	// Colons end a part of a description.
	about := func(text string) string {
		return strings.NewReplacer(`\`, `\\`, ":", `\:`, "[", `\[`, "]", `\]`).Replace(text)
	}
	fmt.Fprint(w, "#compdef bpfgen\n\n_bpfgen() {\n\tlocal -a commands\n\tcommands=(\n")
	for _, c := range cmds {
		fmt.Fprintf(w, "\t\t%s\n", shellQuote(c.name+":"+about(c.short)))
	}
	fmt.Fprint(w, "\t)\n\tif ((CURRENT == 2)); then\n\t\t_describe command commands\n\t\treturn\n\tfi\n\tlocal command=$words[2]\n\tshift words\n\t((CURRENT--))\n\tcase $command in\n")
	for _, c := range cmds {
		fmt.Fprintf(w, "\t%s)\n\t\t_arguments", c.name)
		for _, f := range c.flags {
			spec := "*-" + f.name + "[" + about(f.about) + "]"
			switch {
			case f.words != nil:
				spec += ":" + about(f.takes) + ":(" + strings.Join(f.words, " ") + ")"
			case f.takes != "":
				spec += ":" + about(f.takes) + ":_files"
			}
			fmt.Fprintf(w, " \\\n\t\t\t%s", shellQuote(spec))
		}
		rest := "*:file:_files"
		if c.words != nil {
			rest = "1:word:(" + strings.Join(c.words, " ") + ")"
		}
		fmt.Fprintf(w, " \\\n\t\t\t%s\n\t\t;;\n", shellQuote(rest))
	}
	// As a file of $fpath it is the function's body when it is called first.
	fmt.Fprint(w, "\tesac\n}\n\nif [[ $funcstack[1] == _bpfgen ]]; then\n\t_bpfgen \"$@\"\nelse\n\tcompdef _bpfgen bpfgen\nfi\n")
}

func fish(w io.Writer, cmds []completed) {
	fmt.Fprint(w, "# fish completion for bpfgen.\n")
	for _, c := range cmds {
		fmt.Fprintf(w, "complete -c bpfgen -n __fish_use_subcommand -f -a %s -d %s\n", c.name, fishQuote(c.short))
	}
	for _, c := range cmds {
		seen := fishQuote("__fish_seen_subcommand_from " + c.name)
		if c.words != nil {
			fmt.Fprintf(w, "complete -c bpfgen -n %s -f -a %s\n", seen, fishQuote(strings.Join(c.words, " ")))
		}
		for _, f := range c.flags {
			fmt.Fprintf(w, "complete -c bpfgen -n %s -o %s -d %s", seen, f.name, fishQuote(f.about))
			switch {
			case f.words != nil:
				fmt.Fprintf(w, " -x -a %s", fishQuote(strings.Join(f.words, " ")))
			case f.takes != "":
				fmt.Fprint(w, " -r")
			}
			fmt.Fprintln(w)
		}
	}
}

// fishQuote quotes text for fish, where a backslash escapes within single quotes.
func fishQuote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}
