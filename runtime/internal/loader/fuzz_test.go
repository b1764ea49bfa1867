package loader

import (
	"encoding/binary"
	"slices"
	"strconv"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/rules-bpf/rules_bpf/internal/core"
	"github.com/rules-bpf/rules_bpf/internal/image"
)

// fuzzImage has something of all that code refers to.
func fuzzImage(t testing.TB) *image.Object {
	load := asm.LoadImm(asm.R2, 0, asm.DWord)
	img := coreImage(t, asm.Instructions{asm.LoadMem(asm.R0, asm.R1, 0, asm.DWord), asm.Return()}, core.FieldByteOffset, "0:0")
	types, relocation := img.BTF, img.CORE
	functions := []function{
		{name: "main", insns: asm.Instructions{asm.LoadMem(asm.R0, asm.R1, 0, asm.DWord), call, load, asm.Return()}, calls: map[uint32]string{1: "sub", 2: "leaf"}, callback: "catch"},
		{name: "sub", insns: asm.Instructions{call, load, load, call, load, asm.Return()}, calls: map[uint32]string{0: "leaf"}},
		{name: "leaf", insns: asm.Instructions{load, asm.Return()}},
		{name: "catch", insns: returns(0)},
		{name: "second", insns: asm.Instructions{call, asm.Return()}, calls: map[uint32]string{0: "leaf"}},
	}
	img = testImage(t, functions, map[string]string{"main": "socket", "second": "tc"})
	img.BTF, img.CORE = types, relocation
	img.Maps = []image.Map{{Name: "m", Inner: image.NoIndex}, {Name: "a", Inner: image.NoIndex}}
	img.Arena = image.Arena{Map: 1}
	img.Externs = []image.Extern{{Name: "f", Kind: image.Kfunc, Weak: true}, {Name: "v", Kind: image.KsymVariable}}
	img.JumpTables = []image.JumpTableContents{{Function: 1, Instructions: []uint32{0, 1}}}
	relos := slices.Collect(values(img.Relocations))
	first := img.Functions[1].First
	relos = append(relos[:3:3],
		image.Relocation{Instruction: first + 1, Kind: image.MapValue, Target: 0, Addend: 4},
		image.Relocation{Instruction: first + 3, Kind: image.JumpTable},
		image.Relocation{Instruction: first + 5, Kind: image.ExternCall},
		image.Relocation{Instruction: first + 6, Kind: image.ExternAddress, Target: 1},
		image.Relocation{Instruction: img.Functions[2].First, Kind: image.ArenaValue},
		image.Relocation{Instruction: img.Functions[4].First, Kind: image.Call, Target: 2})
	img.Relocations = image.NewTable(relos)
	return img
}

// damage changes the parts of an image as the data says, three bytes at a time.
func damage(img *image.Object, data []byte) {
	relos := slices.Collect(values(img.Relocations))
	cores := slices.Collect(values(img.CORE))
	lines := slices.Collect(values(img.LineInfo))
	funcs := slices.Collect(values(img.FuncInfo))
	for ; len(data) >= 3; data = data[3:] {
		i, v := int(data[1]), uint32(data[2])
		switch data[0] % 16 {
		case 0:
			relos[i%len(relos)].Instruction = v
		case 1:
			relos[i%len(relos)].Kind = image.RelocationKind(v % 9)
		case 2:
			relos[i%len(relos)].Target = v
		case 3:
			img.Code[i%len(img.Code)] = byte(v)
		case 4:
			cores[0].Instruction = v
		case 5:
			cores[0].Type = v
		case 6:
			cores[0].Kind = v
		case 7:
			cores[0].Access = v
		case 8:
			lines[i%len(lines)].Instruction = v
		case 9:
			lines[i%len(lines)].File = v << (i % 25)
		case 10:
			funcs[i%len(funcs)].Instruction = v
		case 11:
			funcs[i%len(funcs)].Type = v
		case 12:
			img.Functions[i%len(img.Functions)].ExceptionCallback = v
		case 13:
			f := &img.Functions[i%len(img.Functions)]
			f.First, f.Count = v, uint32(i)
		case 14:
			img.BTF[(i<<8|int(v))%len(img.BTF)] ^= byte(i) | 1
		case 15:
			relos, lines, funcs = relos[:max(1, len(relos)-i)], lines[:max(1, len(lines)-i)], funcs[:max(1, len(funcs)-int(v))]
		}
	}
	img.Relocations, img.CORE = image.NewTable(relos), image.NewTable(cores)
	img.LineInfo, img.FuncInfo = image.NewTable(lines), image.NewTable(funcs)
}

// The image of which fuzzing starts is one that can be read.
func TestFuzzImage(t *testing.T) {
	raw, err := image.Encode(fuzzImage(t), binary.NativeEndian)
	if err == nil {
		_, err = image.Decode(string(raw))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Whatever image can be read, putting its programs together does not panic, and stays in
// the code.
func FuzzLink(f *testing.F) {
	for kind := range byte(16) {
		for _, v := range []byte{0, 1, 2, 5, 255} {
			f.Add([]byte{kind, v, 3, kind, v + 1, v})
		}
	}
	types := kernelTypes(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		img := fuzzImage(t)
		damage(img, data)
		raw, err := image.Encode(img, binary.NativeEndian)
		if err != nil {
			return
		}
		if img, err = image.Decode(string(raw)); err != nil {
			return
		}
		o := &Object{Image: img}
		o.openPrograms()
		o.Maps = []*Map{{}, {Arena: &Arena{}}}
		l := &load{object: o, opts: Options{KernelTypes: types}, externs: []extern{{}, {found: true, id: 7}}}
		if err := l.selectPrograms(); err != nil {
			return
		}
		c, err := l.assemble()
		if err != nil {
			_ = err.Error()
			return
		}
		k := &linker{code: c}
		for _, p := range l.selected {
			k.link(p)
			n := uint32(len(k.insns) / insnSize)
			for _, line := range k.lines {
				if line.Instruction >= n {
					t.Errorf("line info of instruction %d of %d", line.Instruction, n)
				}
			}
			for i := range n {
				o.lastLine([]string{strconv.Itoa(int(i)) + ": (b7) r0 = 0"}, k.order, k.at)
			}
			for _, use := range k.tables {
				if use.at >= n {
					t.Errorf("jump table of instruction %d of %d", use.at, n)
				}
			}
		}
		for _, n := range []int{0, poisonCORE, poisonMap, poisonMap + 1, poisonKfunc, poisonKfunc + 5} {
			l.explainPoison(n)
		}
	})
}
