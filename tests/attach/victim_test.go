package attach_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// The victim is a program for probes in user space: a test writes it, so that it
// has no need of a C compiler, nor of libraries in a virtual machine. It calls
// two functions, passes two static probes, and exits with status 0.
const (
	victimName    = "rules-bpf-victim"
	victimLibrary = "lib" + victimName + ".so"

	victimBase = 0x400000
	victimData = 0x600000
)

// victimCode is for x86-64.
var victimCode = []byte{
	// traced_one, at 0: the argument plus 1
	0x8d, 0x47, 0x01, // lea eax, [rdi+1]
	0xc3, // ret
	// traced_two, at 4
	0x8d, 0x47, 0x02, // lea eax, [rdi+2]
	0xc3, // ret
	// _start, at 8
	0xbf, 0x29, 0x00, 0x00, 0x00, // mov edi, 41
	0xe8, 0xee, 0xff, 0xff, 0xff, // call traced_one
	0xe8, 0xed, 0xff, 0xff, 0xff, // call traced_two
	0xb8, 0xfb, 0xff, 0xff, 0xff, // mov eax, -5
	0xbb, 0x78, 0x56, 0x34, 0x12, // mov ebx, 0x12345678
	0x68, 0xd2, 0x04, 0x00, 0x00, // push 1234
	0x90,                                           // nop, at 38: victim:plain
	0x66, 0x83, 0x3c, 0x25, 0x00, 0x00, 0x60, 0x00, // cmp word [0x600000], 0
	0x00,
	0x74, 0x01, // je over the next byte
	0x90,                         // nop, at 50: victim:guarded
	0xb8, 0x3c, 0x00, 0x00, 0x00, // mov eax, 60
	0x31, 0xff, // xor edi, edi
	0x0f, 0x05, // syscall: exit
}

const (
	startOffset   = 8
	plainOffset   = 38
	guardedOffset = 50
)

// plainArgs are the arguments of victim:plain.
const plainArgs = "-4@%eax 8@$77 8@(%rsp) 2@%bx"

// guardedArgs are those of victim:guarded, of which no program can read the first.
const guardedArgs = "8@%xmm0 -4@%eax"

var plainValues = [4]int64{-5, 77, 1234, 0x5678}

// elfBuilder lays out an ELF file.
type elfBuilder struct {
	bytes.Buffer
}

func (b *elfBuilder) align(n int) {
	for b.Len()%n != 0 {
		b.WriteByte(0)
	}
}

func (b *elfBuilder) put(v any) { _ = binary.Write(b, binary.LittleEndian, v) }

// note returns a note on a static probe.
func note(provider, name, args string, addr, base, semaphore uint64) []byte {
	var desc, b elfBuilder
	desc.put([]uint64{addr, base, semaphore})
	desc.WriteString(provider + "\x00" + name + "\x00" + args + "\x00")
	b.put([]uint32{uint32(len("stapsdt") + 1), uint32(desc.Len()), 3})
	b.WriteString("stapsdt\x00")
	b.Write(desc.Bytes())
	b.align(4)
	return b.Bytes()
}

// victim returns the program.
func victim() []byte {
	const code = 0x1000
	notes := append(
		note("victim", "plain", plainArgs, victimBase+code+plainOffset, victimBase, 0),
		note("victim", "guarded", guardedArgs, victimBase+code+guardedOffset, victimBase, victimData)...)

	strtab := "\x00traced_one\x00traced_two\x00_start\x00"
	var symtab elfBuilder
	symtab.put(elf.Sym64{})
	for _, s := range []struct {
		name  uint32
		value uint64
		size  uint64
	}{{1, 0, 4}, {12, 4, 4}, {23, startOffset, uint64(len(victimCode) - startOffset)}} {
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
	add(".text", elf.Section64{Type: uint32(elf.SHT_PROGBITS), Flags: uint64(elf.SHF_ALLOC | elf.SHF_EXECINSTR), Addr: victimBase + code, Addralign: code}, victimCode)
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
	body := elfBuilder{}
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

	var head elfBuilder
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1,
		Entry: victimBase + code + startOffset, Phoff: 64, Shoff: uint64(table),
		Ehsize: 64, Phentsize: 56, Phnum: 2, Shentsize: 64, Shnum: uint16(len(sections)), Shstrndx: uint16(len(sections) - 1),
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
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
	if runtime.GOARCH != "amd64" {
		t.Skipf("needs an x86-64 machine: the program for probes is made of instructions of x86-64")
	}
	dir := t.TempDir()
	for _, name := range []string{victimName, victimLibrary} {
		if err := os.WriteFile(filepath.Join(dir, name), victim(), 0o755); err != nil {
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
