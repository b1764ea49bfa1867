package proptest_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/elfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker/proptest"
	"github.com/rules-bpf/rules_bpf/tool/internal/normalise"
)

var (
	cases = flag.Int("cases", 40, "number of random sets of files")
	seed  = flag.Uint64("seed", 1, "the first set; the next ones have the next numbers")
)

// TestLink links random files, runs what comes out in the kernel, and compares with
// what the rules predict: as they are and in reverse order, some of them
// linked partially before. Where there is a bpftool, it links them too.
func TestLink(t *testing.T) {
	kerneltest.BPF(t)
	clang, err := exec.LookPath("clang")
	if err != nil {
		t.Skip("needs clang")
	}
	bpftool, _ := exec.LookPath("bpftool")
	var other comparison
	linked := 0
	for i := range *cases {
		seed := *seed + uint64(i)
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c := proptest.Random(rand.New(rand.NewPCG(seed, 0)))
			dir := t.TempDir()
			inputs := compile(t, clang, dir, c)
			if !t.Failed() {
				defer func() {
					if t.Failed() {
						for file := range c.Files() {
							t.Logf("file%d.c:\n%s", file, c.Source(file))
						}
					}
				}()
			}
			linked += check(t, c, inputs)
			if bpftool != "" {
				other.check(c, bpftool, dir, inputs)
			}
		})
		if !ok {
			break
		}
	}
	t.Logf("%d sets of files, of which %d can be linked", *cases, linked)
	if bpftool != "" {
		t.Logf("bpftool gen object: %+v", other)
	}
}

func compile(t *testing.T, clang, dir string, c *proptest.Case) []linker.Input {
	t.Helper()
	args := []string{
		"-g", "-O2", "-mcpu=v3", "-target", "bpf", "-D__TARGET_ARCH_x86", "-c",
		// The asm/ headers of distributions with several architectures.
		"-I/usr/include/x86_64-linux-gnu", "-I/usr/include/aarch64-linux-gnu",
	}
	var inputs []linker.Input
	for file := range c.Files() {
		name := fmt.Sprintf("file%d.c", file)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(c.Source(file)), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, name)
	}
	cmd := exec.Command(clang, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("clang: %v\n%s", err, out)
	}
	for file := range c.Files() {
		name := fmt.Sprintf("file%d.o", file)
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		inputs = append(inputs, linker.Input{Name: name, Data: data})
	}
	return inputs
}

// check links in several ways, and returns 1 if the files can be linked.
func check(t *testing.T, c *proptest.Case, inputs []linker.Input) int {
	t.Helper()
	var order []int
	for file := range inputs {
		order = append(order, file)
	}
	if problem := c.Problem(); problem != "" {
		_, err := linker.Link(inputs, linker.Options{})
		if err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("linked files that contradict each other; the error should name %s: %v", problem, err)
		}
		return 0
	}

	data, err := linker.Link(inputs, linker.Options{})
	if err != nil {
		t.Errorf("link: %v", err)
		return 1
	}
	again, err := linker.Link(inputs, linker.Options{})
	if err != nil || !bytes.Equal(data, again) {
		t.Errorf("the same files are not linked the same: %v", err)
	}
	layout(t, c, data)
	if err := run(c, order, data); err != nil {
		t.Errorf("linked in order: %v", err)
	}

	part, err := linker.Link(inputs[:len(inputs)-1], linker.Options{Partial: true})
	if err != nil {
		t.Errorf("partial link: %v", err)
		return 1
	}
	data, err = linker.Link([]linker.Input{{Name: "part.o", Data: part}, inputs[len(inputs)-1]}, linker.Options{})
	if err != nil {
		t.Errorf("link of a partial link: %v", err)
	} else if err := run(c, order, data); err != nil {
		t.Errorf("linked in two steps: %v", err)
	}

	slices.Reverse(order)
	reversed := slices.Clone(inputs)
	slices.Reverse(reversed)
	data, err = linker.Link(reversed, linker.Options{})
	if err != nil {
		t.Errorf("link in reverse order: %v", err)
	} else if err := run(c, order, data); err != nil {
		t.Errorf("linked in reverse order: %v", err)
	}
	return 1
}

// layout checks that BTF has each variable where its symbol is, and that hidden
// ones are not shown.
func layout(t *testing.T, c *proptest.Case, data []byte) {
	t.Helper()
	file, err := elfobj.Parse(data)
	if err != nil {
		t.Error(err)
		return
	}
	symbols := make(map[string]*elfobj.Symbol)
	for _, sym := range file.Symbols {
		if sym.Bind != 0 && sym.Section != nil {
			symbols[sym.Name] = sym
		}
	}
	obj, err := bpfobj.Read("linked.o", data)
	if err != nil {
		t.Error(err)
		return
	}
	shown := make(map[string]bool)
	for _, sec := range obj.Sections {
		for _, v := range sec.Variables {
			shown[v.Name] = !v.Hidden
			sym := symbols[v.Name]
			if sym == nil || sym.Section.Name != sec.Name || sym.Value != v.Offset {
				t.Errorf("%s: BTF has it at %s+%d, its symbol is %+v", v.Name, sec.Name, v.Offset, sym)
			}
		}
	}
	all, hidden := c.Names()
	for _, name := range all {
		if shown[name] == slices.Contains(hidden, name) {
			t.Errorf("%s: shown %v, hidden %v", name, shown[name], !shown[name])
		}
	}
}

// run loads an object, runs its programs, and compares what they saw and left.
func run(c *proptest.Case, order []int, data []byte) error {
	obj, err := normalise.Bytes(data)
	if err != nil {
		return err
	}
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(obj.ELF))
	if err != nil {
		return err
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		return err
	}
	defer coll.Close()

	results, final := c.Run(order)
	for file := range c.Files() {
		ret, err := coll.Programs[proptest.ProgramName(file)].Run(&ebpf.RunOptions{})
		if err != nil {
			return err
		}
		if ret != 0 {
			return fmt.Errorf("%s returned %d", proptest.ProgramName(file), ret)
		}
	}
	for file, want := range results {
		name := proptest.ResultName(file)
		v := coll.Variables[name]
		if v == nil {
			return fmt.Errorf("no variable %s", name)
		}
		got := make([]uint64, v.Size()/8)
		if err := v.Get(got); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if got = got[:len(want)]; !slices.Equal(got, want) {
			return fmt.Errorf("%s: the program stored %d, want %d", name, got, want)
		}
	}
	_, hidden := c.Names()
	for name, want := range final {
		if slices.Contains(hidden, name) {
			continue
		}
		v := coll.Variables[name]
		if v == nil {
			return fmt.Errorf("no variable %s", name)
		}
		contents := make([]byte, v.Size())
		if err := v.Get(contents); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		bits, offsets := c.Bits(name)
		for i, want := range want {
			b := make([]byte, 8)
			copy(b, contents[offsets[i]:offsets[i]+bits[i]/8])
			if got := binary.LittleEndian.Uint64(b); got != want {
				return fmt.Errorf("%s: number %d is %d in the end, want %d", name, i, got, want)
			}
		}
	}
	return nil
}

// comparison counts what bpftool's linker makes of the same files.
type comparison struct {
	Equal, Refused, Wrong, AcceptedBad, RefusedBad int
}

func (o *comparison) check(c *proptest.Case, bpftool, dir string, inputs []linker.Input) {
	args := []string{"gen", "object", "linked.o"}
	var order []int
	for file, input := range inputs {
		args = append(args, input.Name)
		order = append(order, file)
	}
	cmd := exec.Command(bpftool, args...)
	cmd.Dir = dir
	err := cmd.Run()
	switch bad := c.Problem() != ""; {
	case bad && err != nil:
		o.RefusedBad++
		return
	case bad:
		o.AcceptedBad++
		return
	case err != nil:
		o.Refused++
		return
	}
	data, err := os.ReadFile(filepath.Join(dir, "linked.o"))
	if err == nil {
		err = run(c, order, data)
	}
	if err != nil {
		o.Wrong++
		return
	}
	o.Equal++
}
