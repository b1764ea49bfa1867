package attach_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// The victim is a program for probes in user space: a test writes it, so that it
// has no need of a C compiler, nor of libraries in a virtual machine. It calls
// two functions, passes two USDTs, and exits with status 0. Its instructions are
// those of the CPU.
const (
	victimName    = "rules-bpf-victim"
	victimLibrary = "lib" + victimName + ".so"

	victimBase = 0x400000
	victimData = 0x600000
)

// Where what all CPUs have is in the code: two functions, and where the program starts.
const (
	oneOffset   = 0
	twoOffset   = 8
	startOffset = 16
)

// A victimCPU is what the victim is on a CPU.
type victimCPU struct {
	machine elf.Machine
	order   binary.ByteOrder
	// code has traced_one, traced_two and _start. An instruction of traced_one begins
	// at 4, for a probe at an offset.
	code []byte
	// plain and guarded are where the USDTs are in code.
	plain, guarded uint64
	// plainArgs are the arguments of victim:plain.
	plainArgs string
	// guardedArgs are those of victim:guarded, of which no program can read the first.
	guardedArgs string
}

// victimCPUs are by GOARCH.
var victimCPUs = map[string]*victimCPU{
	"amd64": {
		machine: elf.EM_X86_64, order: binary.LittleEndian,
		code: []byte{
			0x8d, 0x47, 0x01, // lea eax, [rdi+1]
			0x90,             // nop
			0xc3,             // ret
			0x0f, 0x1f, 0x00, // nop
			// traced_two
			0x8d, 0x47, 0x02, // lea eax, [rdi+2]
			0x90,             // nop
			0xc3,             // ret
			0x0f, 0x1f, 0x00, // nop
			// _start
			0xbf, 0x29, 0x00, 0x00, 0x00, // mov edi, 41
			0xe8, 0xe6, 0xff, 0xff, 0xff, // call traced_one
			0xe8, 0xe9, 0xff, 0xff, 0xff, // call traced_two
			0xb8, 0xfb, 0xff, 0xff, 0xff, // mov eax, -5
			0xbb, 0x78, 0x56, 0x34, 0x12, // mov ebx, 0x12345678
			0x68, 0xd2, 0x04, 0x00, 0x00, // push 1234
			0x90,                                           // nop: victim:plain
			0x66, 0x83, 0x3c, 0x25, 0x00, 0x00, 0x60, 0x00, // cmp word [0x600000], 0
			0x00,
			0x74, 0x01, // je over the next byte
			0x90,                         // nop: victim:guarded
			0xb8, 0x3c, 0x00, 0x00, 0x00, // mov eax, 60
			0x31, 0xff, // xor edi, edi
			0x0f, 0x05, // syscall: exit
		},
		plain: 46, guarded: 58,
		plainArgs: "-4@%eax 8@$77 8@(%rsp) 2@%bx 4@(%rsp)", guardedArgs: "8@%xmm0 -4@%eax",
	},
	"arm64": {
		machine: elf.EM_AARCH64, order: binary.LittleEndian,
		code: []byte{
			0x00, 0x04, 0x00, 0x11, // add w0, w0, 1
			0xc0, 0x03, 0x5f, 0xd6, // ret
			// traced_two
			0x00, 0x08, 0x00, 0x11, // add w0, w0, 2
			0xc0, 0x03, 0x5f, 0xd6, // ret
			// _start
			0x20, 0x05, 0x80, 0x52, // mov w0, 41
			0xfb, 0xff, 0xff, 0x97, // bl traced_one
			0xfc, 0xff, 0xff, 0x97, // bl traced_two
			0x93, 0x00, 0x80, 0x12, // mov w19, -5
			0x14, 0xcf, 0x8a, 0x52, // mov w20, 0x5678
			0x94, 0x46, 0xa2, 0x72, // movk w20, 0x1234, lsl 16
			0xff, 0x43, 0x00, 0xd1, // sub sp, sp, 16
			0x41, 0x9a, 0x80, 0x52, // mov w1, 1234
			0xe1, 0x03, 0x00, 0xf9, // str x1, [sp]
			0x1f, 0x20, 0x03, 0xd5, // nop: victim:plain
			0x02, 0x0c, 0xa0, 0xd2, // mov x2, 0x600000
			0x42, 0x00, 0x40, 0x79, // ldrh w2, [x2]
			0x42, 0x00, 0x00, 0x34, // cbz w2, over the next instruction
			0x1f, 0x20, 0x03, 0xd5, // nop: victim:guarded
			0xa8, 0x0b, 0x80, 0x52, // mov w8, 93
			0x00, 0x00, 0x80, 0x52, // mov w0, 0
			0x01, 0x00, 0x00, 0xd4, // svc 0: exit
		},
		plain: 52, guarded: 68,
		plainArgs: "-4@w19 8@77 8@[sp] 2@w20 4@[sp]", guardedArgs: "8@d0 -4@w19",
	},
	"s390x": {
		machine: elf.EM_S390, order: binary.BigEndian,
		code: []byte{
			0xa7, 0x2a, 0x00, 0x01, // ahi %r2, 1
			0x07, 0xfe, // br %r14
			0x07, 0x00, // nopr
			// traced_two
			0xa7, 0x2a, 0x00, 0x02, // ahi %r2, 2
			0x07, 0xfe, // br %r14
			0x07, 0x00, // nopr
			// _start
			0xa7, 0x28, 0x00, 0x29, // lhi %r2, 41
			0xc0, 0xe5, 0xff, 0xff, 0xff, 0xf6, // brasl %r14, traced_one
			0xc0, 0xe5, 0xff, 0xff, 0xff, 0xf7, // brasl %r14, traced_two
			0xa7, 0x88, 0xff, 0xfb, // lhi %r8, -5
			0xc0, 0x99, 0x12, 0x34, 0x56, 0x78, // iilf %r9, 0x12345678
			0xa7, 0xfb, 0xff, 0xf0, // aghi %r15, -16
			0xa7, 0x19, 0x04, 0xd2, // lghi %r1, 1234
			0xe3, 0x10, 0xf0, 0x00, 0x00, 0x24, // stg %r1, 0(%r15)
			0x07, 0x00, // nopr: victim:plain
			0xa5, 0x3e, 0x00, 0x60, // llilh %r3, 0x60
			0xe3, 0x30, 0x30, 0x00, 0x00, 0x91, // llgh %r3, 0(%r3)
			0xb9, 0x02, 0x00, 0x33, // ltgr %r3, %r3
			0xa7, 0x84, 0x00, 0x03, // je over the next instruction
			0x07, 0x00, // nopr: victim:guarded
			0xa7, 0x19, 0x00, 0x01, // lghi %r1, 1
			0xa7, 0x29, 0x00, 0x00, // lghi %r2, 0
			0x0a, 0x00, // svc 0: exit
		},
		plain: 56, guarded: 76,
		plainArgs: "-4@%r8 8@77 8@0(%r15) 2@%r9 4@4(%r15)", guardedArgs: "8@%f0 -4@%r8",
	},
}

// victimOf returns the victim of the CPU that the test runs on, and skips t where there is
// none.
func victimOf(t testing.TB) *victimCPU {
	t.Helper()
	cpu, ok := victimCPUs[runtime.GOARCH]
	if !ok {
		t.Skipf("needs a CPU of %s: the program for probes is made of their instructions", strings.Join(slices.Sorted(maps.Keys(victimCPUs)), ", "))
	}
	return cpu
}

var plainValues = [5]int64{-5, 77, 1234, 0x5678, 1234}

// elfBuilder lays out an ELF file.
type elfBuilder struct {
	bytes.Buffer
	order binary.ByteOrder
}

func (b *elfBuilder) align(n int) {
	for b.Len()%n != 0 {
		b.WriteByte(0)
	}
}

func (b *elfBuilder) put(v any) { _ = binary.Write(b, b.order, v) }

// note returns a note on a USDT.
func (c *victimCPU) note(provider, name, args string, addr, base, semaphore uint64) []byte {
	desc, b := elfBuilder{order: c.order}, elfBuilder{order: c.order}
	desc.put([]uint64{addr, base, semaphore})
	desc.WriteString(provider + "\x00" + name + "\x00" + args + "\x00")
	b.put([]uint32{uint32(len("stapsdt") + 1), uint32(desc.Len()), 3})
	b.WriteString("stapsdt\x00")
	b.Write(desc.Bytes())
	b.align(4)
	return b.Bytes()
}

// victim returns the program.
func (c *victimCPU) victim() []byte {
	// Where the code is, and what segments are aligned to: the largest page of any CPU.
	const code = 0x10000
	notes := append(
		c.note("victim", "plain", c.plainArgs, victimBase+code+c.plain, victimBase, 0),
		c.note("victim", "guarded", c.guardedArgs, victimBase+code+c.guarded, victimBase, victimData)...)

	strtab := "\x00traced_one\x00traced_two\x00_start\x00"
	symtab := elfBuilder{order: c.order}
	symtab.put(elf.Sym64{})
	for _, s := range []struct {
		name  uint32
		value uint64
		size  uint64
	}{{1, oneOffset, 8}, {12, twoOffset, 8}, {23, startOffset, uint64(len(c.code) - startOffset)}} {
		symtab.put(elf.Sym64{
			Name: s.name, Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_FUNC), Shndx: 1,
			Value: victimBase + code + s.value, Size: s.size,
		})
	}

	names := "\x00"
	type section struct {
		header elf.Section64
		data   []byte
	}
	sections := []section{{}}
	add := func(name string, h elf.Section64, data []byte) {
		h.Name, h.Size = uint32(len(names)), uint64(len(data))
		names += name + "\x00"
		sections = append(sections, section{h, data})
	}
	add(".text", elf.Section64{Type: uint32(elf.SHT_PROGBITS), Flags: uint64(elf.SHF_ALLOC | elf.SHF_EXECINSTR), Addr: victimBase + code, Addralign: code}, c.code)
	add(".data", elf.Section64{Type: uint32(elf.SHT_PROGBITS), Flags: uint64(elf.SHF_ALLOC | elf.SHF_WRITE), Addr: victimData, Addralign: code}, make([]byte, 16))
	add(".note.stapsdt", elf.Section64{Type: uint32(elf.SHT_NOTE), Addralign: 4}, notes)
	add(".stapsdt.base", elf.Section64{Type: uint32(elf.SHT_PROGBITS), Addr: victimBase, Addralign: 1}, []byte{0})
	add(".symtab", elf.Section64{Type: uint32(elf.SHT_SYMTAB), Link: 6, Info: 1, Addralign: 8, Entsize: 24}, symtab.Bytes())
	add(".strtab", elf.Section64{Type: uint32(elf.SHT_STRTAB), Addralign: 1}, []byte(strtab))
	names += ".shstrtab\x00"
	sections = append(sections, section{elf.Section64{
		Name: uint32(len(names) - len(".shstrtab\x00")), Type: uint32(elf.SHT_STRTAB), Size: uint64(len(names)), Addralign: 1,
	}, []byte(names)})

	// The body comes first, as the headers say where it is.
	const headers = 64 + 2*56
	body := elfBuilder{order: c.order}
	body.Write(make([]byte, headers))
	for i := 1; i < len(sections); i++ {
		s := &sections[i]
		body.align(int(s.header.Addralign))
		s.header.Off = uint64(body.Len())
		body.Write(s.data)
	}
	body.align(8)
	table := body.Len()
	for _, s := range sections {
		body.put(s.header)
	}

	head := elfBuilder{order: c.order}
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(c.machine), Version: 1,
		Entry: victimBase + code + startOffset, Phoff: 64, Shoff: uint64(table),
		Ehsize: 64, Phentsize: 56, Phnum: 2, Shentsize: 64, Shnum: uint16(len(sections)), Shstrndx: uint16(len(sections) - 1),
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	if c.order == binary.BigEndian {
		h.Ident[elf.EI_DATA] = byte(elf.ELFDATA2MSB)
	}
	head.put(h)
	text, data := sections[1], sections[2]
	head.put(elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Off: text.header.Off, Vaddr: text.header.Addr, Paddr: text.header.Addr,
		Filesz: text.header.Size, Memsz: text.header.Size, Align: code,
	})
	head.put(elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W), Off: data.header.Off, Vaddr: data.header.Addr, Paddr: data.header.Addr,
		Filesz: data.header.Size, Memsz: data.header.Size, Align: code,
	})
	out := body.Bytes()
	copy(out, head.Bytes())
	return out
}

// placeVictim puts the program where a search by name finds it, as a program and
// as a library, and returns what runs it.
func placeVictim(t testing.TB) (run func(), runLibrary func()) {
	t.Helper()
	program := victimOf(t).victim()
	dir := t.TempDir()
	for _, name := range []string{victimName, victimLibrary} {
		if err := os.WriteFile(filepath.Join(dir, name), program, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("LD_LIBRARY_PATH", dir)
	runner := func(name string) func() {
		return func() {
			t.Helper()
			if err := exec.Command(filepath.Join(dir, name)).Run(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return runner(victimName), runner(victimLibrary)
}
