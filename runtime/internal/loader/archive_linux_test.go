package loader

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/rules-bpf/rules_bpf/internal/core"
	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/kernelbtf"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// On a kernel whose BTF is hidden, an archive stands in for it; without one, and without
// the kernel in it, Load says so.
func TestHiddenBTF(t *testing.T) {
	if !kerneltest.WithoutBTF(t) {
		return
	}
	if _, err := kernelbtf.Open(); !errors.Is(err, fs.ErrNotExist) {
		t.Skipf("the kernel's BTF is elsewhere, too: %v", err)
	}
	img := coreImage(t, asm.Instructions{asm.Mov.Imm(asm.R0, 8), asm.Return()}, core.FieldByteOffset, "0:1")
	o := Open(img)
	if err := o.Load(Options{}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "BTF of the kernel: it has none") {
		t.Errorf("without an archive: %v", err)
	}
	arch, err := sys.KernelMachine()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Load(Options{KernelArchive: archiveOf(t, map[string][]byte{"a/1/" + arch + "/1.2.3": kernelTypes(t)})}); err == nil || !strings.Contains(err.Error(), "the kernel has no BTF, and none of the 1 kernels of KernelArchive") {
		t.Errorf("without the kernel: %v", err)
	}
	if err := o.Load(Options{KernelArchive: archiveOf(t, map[string][]byte{"a/1/" + arch + "/RELEASE": otherTypes(t)})}); err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if got := run(t, o.Programs[0]); got != 8 {
		t.Errorf("returns %d, and the archive says 8", got)
	}
	programNotLoaded(t, arch)
}

// What kernels of the archive do not have alike counts for programs that are loaded.
func programNotLoaded(t *testing.T, arch string) {
	img := coreImage(t, asm.Instructions{asm.Mov.Imm(asm.R0, 4), asm.Return()}, core.FieldByteSize, "0:1")
	count := img.Functions[0].Count
	img.Code = append(img.Code, img.Code...)
	img.Functions = append(img.Functions, image.Function{Name: "other", First: count, Count: count, ExceptionCallback: image.NoIndex})
	img.Programs = append(img.Programs, image.Program{Name: "other", Section: "socket", Function: 1})
	size := image.At(img.CORE, 0)
	offset := size
	offset.Instruction, offset.Kind = count, uint32(core.FieldByteOffset)
	img.CORE = image.NewTable([]image.CORE{size, offset})
	archive := archiveOf(t, map[string][]byte{"a/1/" + arch + "/RELEASE": kernelTypes(t), "b/1/" + arch + "/RELEASE": otherTypes(t)})
	o := Open(img)
	if err := o.Load(Options{KernelArchive: archive}); err == nil || !strings.Contains(err.Error(), "may be any of") {
		t.Errorf("with a program that is not the same: %v", err)
	}
	o = Open(img)
	defer o.Close()
	o.Programs[1].Autoload = false
	if err := o.Load(Options{KernelArchive: archive}); err != nil {
		t.Fatal(err)
	}
	if got := run(t, o.Programs[0]); got != 4 {
		t.Errorf("returns %d, and both kernels say 4", got)
	}
}
