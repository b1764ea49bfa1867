package loader

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/runtime/internal/refusal"
)

// text returns the text at an offset in the strings of the object's BTF, empty when there
// is none.
func (o *Object) text(off uint32) string {
	t, err := o.localTypes()
	if err != nil {
		return ""
	}
	return t.String(off)
}

// sourceLine returns the line of C that an instruction of a function belongs to,
// "file.bpf.c:12: text", empty when it is not known.
func (o *Object) sourceLine(function, instruction uint32) string {
	if i, ok := o.lineOf(function, instruction); ok {
		return o.lineText(i)
	}
	return ""
}

// lineOf returns the index of the line info of an instruction of a function.
func (o *Object) lineOf(function, instruction uint32) (int, bool) {
	img := o.Image
	i := search(img.LineInfo, instruction+1, lineInfoAt) - 1
	return i, i >= 0 && image.At(img.LineInfo, i).Instruction >= img.Functions[function].First
}

func (o *Object) lineText(index int) string {
	line := image.At(o.Image.LineInfo, index)
	return fmt.Sprintf("%s:%d: %s", o.text(line.File), line.Column>>10, strings.TrimSpace(o.text(line.Line)))
}

// lineAbout is sourceLine for an instruction that is about something with a name. Compilers
// place such instructions on no line of their own: when the line before does not have the
// name and the next one does, that is it.
func (o *Object) lineAbout(function, instruction uint32, name string) string {
	i, ok := o.lineOf(function, instruction)
	if !ok {
		return ""
	}
	img := o.Image
	end := img.Functions[function].First + img.Functions[function].Count
	has := func(i int) bool { return strings.Contains(o.text(image.At(img.LineInfo, i).Line), name) }
	if image.At(img.LineInfo, i).Instruction != instruction && !has(i) && i+1 < image.Len(img.LineInfo) && image.At(img.LineInfo, i+1).Instruction < end && has(i+1) {
		i++
	}
	return o.lineText(i)
}

// lastLine returns the line of C of the last instruction that the verifier's log shows of
// a program, whose functions start one before starts.
func (o *Object) lastLine(log []string, functions, starts []uint32) string {
	index := lastInstruction(log)
	for i := len(functions) - 1; i >= 0 && index >= 0; i-- {
		if start := int(starts[functions[i]]) - 1; index >= start {
			f := &o.Image.Functions[functions[i]]
			return o.sourceLine(functions[i], f.First+uint32(index-start))
		}
	}
	return ""
}

// lastInstruction returns the index of the last instruction that the log shows, -1 when
// it shows none.
func lastInstruction(log []string) int {
	for i := len(log) - 1; i >= 0; i-- {
		// "12: (61) r0 = *(u32 *)(r1 +100000)"
		number, rest, ok := strings.Cut(strings.TrimSpace(log[i]), ": (")
		if !ok || rest == "" {
			continue
		}
		if n, err := strconv.Atoi(number); err == nil && n >= 0 {
			return n
		}
	}
	return -1
}

// logLines returns the lines of the verifier's log.
func logLines(log []byte) []string {
	if end := bytes.IndexByte(log, 0); end >= 0 {
		log = log[:end]
	}
	var lines []string
	for line := range strings.Lines(strings.TrimSpace(string(log))) {
		lines = append(lines, strings.TrimRight(line, " \t\r\n"))
	}
	return lines
}

// silent reports whether the log has nothing but statistics: the verifier has not refused
// the program.
func silent(log []string) bool {
	return refusal.Ending(log) == ""
}

// poisonLines is in how many lines at the end of the verifier's log a poisoned instruction
// may be named, as in libbpf.
const poisonLines = 10

// explain completes the error of a program whose poisoned instructions the end of the
// verifier's log is about: it says what they need that the kernel lacks, or that was not
// made.
func (l *load) explain(e *ProgramError) {
	for i := len(e.Log) - 1; i >= max(0, len(e.Log)-poisonLines); i-- {
		_, number, ok := strings.Cut(e.Log[i], "invalid func unknown#")
		if !ok {
			continue
		}
		n, err := strconv.Atoi(number)
		if err != nil {
			return
		}
		e.Hint = l.explainPoison(n)
		if line := l.coreLine(n - poisonCORE); line != "" {
			e.Source = line
		}
		return
	}
}

// explainKfunc explains why a weak kfunc with an index is missing.
func (l *load) explainKfunc(index int) string {
	e := &l.object.Image.Externs[index]
	if local, err := l.object.localTypes(); err == nil && index < len(l.externs) && l.externs[index].differs {
		return fmt.Sprintf("calls the weak kfunc %s, which %s, or ask bpf_ksym_exists before", e.Name, differs(local.At(e.Type)))
	}
	return fmt.Sprintf("calls the weak kfunc %s, which the kernel does not have: ask bpf_ksym_exists before", e.Name)
}

// explainPoison explains what a number of a helper that does not exist stands for.
func (l *load) explainPoison(number int) string {
	img := l.object.Image
	switch {
	case number >= poisonKfunc && number-poisonKfunc < len(img.Externs):
		return l.explainKfunc(number - poisonKfunc)
	case number >= poisonMap && number-poisonMap < len(img.Maps):
		return fmt.Sprintf("uses the map %s, which is not made since Autocreate is off: turn it on, or keep the program from that code", img.Maps[number-poisonMap].Name)
	}
	return l.missing(number - poisonCORE)
}
