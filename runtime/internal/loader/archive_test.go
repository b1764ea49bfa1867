package loader

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/internal/btfarchive"
	"github.com/rules-bpf/rules_bpf/internal/core"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// archiveOf returns an archive with the running kernel as those distributions have it.
func archiveOf(t testing.TB, types map[string][]byte) []byte {
	t.Helper()
	release, err := sys.KernelRelease()
	if err != nil {
		t.Skipf("needs uname: %v", err)
	}
	var kernels []btfarchive.Kernel
	for name, raw := range types {
		kernels = append(kernels, btfarchive.Kernel{Name: strings.ReplaceAll(name, "RELEASE", release), Types: raw})
	}
	data, err := btfarchive.Make(kernels)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// otherTypes has a struct s with b at another place than kernelTypes has it, and a at the
// same.
func otherTypes(t testing.TB) []byte {
	s := &btf.Struct{Name: "s", Size: 24, Members: []btf.Member{{Name: "b", Type: intType, Offset: 64}, {Name: "a", Type: shortType, Offset: 40}}}
	return rawTypes(t, intType, s)
}

// otherArch returns another architecture.
func otherArch(arch string) string {
	if arch == "s390x" {
		return "riscv64"
	}
	return "s390x"
}

func TestArchive(t *testing.T) {
	arch, err := sys.KernelMachine()
	if err != nil {
		t.Skipf("needs uname: %v", err)
	}
	one, other := kernelTypes(t), otherTypes(t)
	for _, tt := range []struct {
		name    string
		kernels map[string][]byte
		prefix  string
		member  string
		want    string
	}{
		{name: "one", kernels: map[string][]byte{"a/1/" + arch + "/RELEASE": one, "a/1/" + arch + "/1.2.3": other, "a/1/" + otherArch(arch) + "/RELEASE": other}},
		{name: "the same types", kernels: map[string][]byte{"a/1/" + arch + "/RELEASE": one, "b/1/" + arch + "/RELEASE": one}},
		{name: "types that agree", member: "0:0", kernels: map[string][]byte{"a/1/" + arch + "/RELEASE": one, "b/1/" + arch + "/RELEASE": other}},
		{name: "one that was chosen", prefix: "a/1", kernels: map[string][]byte{"a/1/" + arch + "/RELEASE": one, "b/1/" + arch + "/RELEASE": other}},
		{
			name: "types that do not agree", kernels: map[string][]byte{"a/1/" + arch + "/RELEASE": one, "b/1/" + arch + "/RELEASE": other},
			want: "the kernel has no BTF, and may be any of a/1/" + arch + "/RELEASE, b/1/" + arch + "/RELEASE: field b of struct s___mine is 0 in one, and 8 in the other of a/1/" + arch + "/RELEASE and b/1/" + arch + "/RELEASE: choose one with KernelName",
		},
		{
			name: "none", kernels: map[string][]byte{"a/1/" + arch + "/1.2.3": one},
			want: "the kernel has no BTF, and none of the 1 kernels of KernelArchive is RELEASE for " + arch + ": add its types to the archive, or give them with KernelTypes",
		},
		{
			name: "none of those that were chosen", prefix: "c", kernels: map[string][]byte{"a/1/" + arch + "/RELEASE": one},
			want: "the kernel has no BTF, and none of the 1 kernels of KernelArchive is RELEASE for " + arch + " in c: add its types to the archive, or give them with KernelTypes",
		},
		{name: "damaged types", kernels: map[string][]byte{"a/1/" + arch + "/RELEASE": []byte("no BTF")}, want: "KernelArchive: a/1/" + arch + "/RELEASE: is not BTF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			access := "0:1"
			if tt.member != "" {
				access = tt.member
			}
			img := coreImage(t, asm.Instructions{asm.Mov.Imm(asm.R0, 8), asm.Return()}, core.FieldByteOffset, access)
			l := &load{object: Open(img), opts: Options{KernelArchive: archiveOf(t, tt.kernels), KernelName: tt.prefix}, btf: -1}
			local, err := l.object.localTypes()
			if err != nil {
				t.Fatal(err)
			}
			relos := []core.Relocation{{Kind: core.FieldByteOffset, Type: 2, Access: access}}
			types, err := l.archived(local, relos)
			release, _ := sys.KernelRelease()
			want := strings.ReplaceAll(tt.want, "RELEASE", release)
			if tt.want != "" {
				if err == nil || !strings.HasPrefix(err.Error(), want) {
					t.Errorf("got  %v\nwant %s", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if res, err := core.New(local, core.Only(types), relos).Resolve(relos[0]); err != nil || tt.member == "" && res.Value != 0 {
				t.Errorf("%v, %v", res, err)
			}
		})
	}
	l := &load{object: Open(coreImage(t, asm.Instructions{asm.Return()}, core.FieldByteOffset, "0:1")), opts: Options{KernelArchive: []byte("x")}}
	if _, err := l.archived(nil, nil); err == nil || err.Error() != "KernelArchive: is not an archive of kernel types, or is damaged: make it with bpfgen vmlinux -btf -archive" {
		t.Errorf("%v", err)
	}
}
