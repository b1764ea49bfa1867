// Package btfarchive is a file with the types of several kernels, as raw BTF: bpfgen
// vmlinux makes it for kernels that have none of their own, and the runtime looks for the
// running kernel in it.
//
// It begins with lines of text, one for each kernel: its name, and the offset and the
// length of its types, which follow an empty line. The name is the path of the kernel's
// file in a collection such as btfhub-archive, without what ends it:
// ubuntu/20.04/x86_64/5.4.0-91-generic. Kernels with the same types share them.
package btfarchive

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/quote"
)

// header is the first line.
const header = "rules_bpf kernel types 1"

// Kernel is the types of a kernel.
type Kernel struct {
	// Name is DISTRIBUTION/VERSION/ARCHITECTURE/RELEASE.
	Name string
	// Types is raw BTF.
	Types []byte
}

// parts is how many a name has.
const parts = 4

// example is a name, for messages.
const example = "as in ubuntu/20.04/x86_64/5.4.0-91-generic"

// CheckName reports what is wrong with the name of a kernel. A kernel of an architecture that
// Go has no name for would never be found.
func CheckName(name string) error {
	if !isName(name) {
		return fmt.Errorf("is not called DISTRIBUTION/VERSION/ARCHITECTURE/RELEASE, %s", example)
	}
	arch := (&Kernel{Name: name}).Arch()
	if !slices.ContainsFunc(arches, func(names []string) bool { return slices.Contains(names, arch) }) {
		return fmt.Errorf("has %q in the place of the ARCHITECTURE, which is what uname -m or GOARCH say, %s", arch, example)
	}
	return nil
}

// isName reports whether a text has the form of a name.
func isName(name string) bool {
	fields := strings.Split(name, "/")
	return len(fields) == parts && !slices.Contains(fields, "") && !strings.ContainsAny(name, " \t\r\n") && quote.Text(name) == name
}

// Release returns the release of the kernel, which is what uname -r says.
func (k *Kernel) Release() string { return path.Base(k.Name) }

// Arch returns the architecture of the kernel, as uname -m says it.
func (k *Kernel) Arch() string { return path.Base(path.Dir(k.Name)) }

// Make returns the file for the kernels, which are sorted by their names.
func Make(kernels []Kernel) ([]byte, error) {
	kernels = slices.SortedFunc(slices.Values(kernels), func(a, b Kernel) int { return cmp.Compare(a.Name, b.Name) })
	var lines, types bytes.Buffer
	lines.WriteString(header + "\n")
	offsets := make(map[string]int)
	for i, k := range kernels {
		if err := CheckName(k.Name); err != nil {
			return nil, fmt.Errorf("%q: %w", k.Name, err)
		}
		if i > 0 && kernels[i-1].Name == k.Name {
			return nil, fmt.Errorf("%s: is there twice: name it once", k.Name)
		}
		at, ok := offsets[string(k.Types)]
		if !ok {
			at = types.Len()
			offsets[string(k.Types)] = at
			types.Write(k.Types)
			// BTF is made of words.
			types.Write(make([]byte, -types.Len()&7))
		}
		fmt.Fprintf(&lines, "%s %d %d\n", k.Name, at, len(k.Types))
	}
	lines.WriteString("\n")
	return append(lines.Bytes(), types.Bytes()...), nil
}

// ErrDamaged is the error for data that is no such file.
var ErrDamaged = errors.New("is not an archive of kernel types, or is damaged: make it with bpfgen vmlinux -btf -archive")

// Read returns the kernels of a file, whose memory they refer to.
func Read(data []byte) ([]Kernel, error) {
	text, types, ok := bytes.Cut(data, []byte("\n\n"))
	if !ok {
		return nil, ErrDamaged
	}
	lines := strings.Split(string(text), "\n")
	if lines[0] != header {
		return nil, ErrDamaged
	}
	var kernels []Kernel
	for _, line := range lines[1:] {
		fields := strings.Fields(line)
		if len(fields) != 3 || !isName(fields[0]) {
			return nil, ErrDamaged
		}
		at, atErr := strconv.ParseUint(fields[1], 10, 32)
		n, nErr := strconv.ParseUint(fields[2], 10, 32)
		if atErr != nil || nErr != nil || at+n > uint64(len(types)) {
			return nil, ErrDamaged
		}
		kernels = append(kernels, Kernel{fields[0], types[at : at+n : at+n]})
	}
	return kernels, nil
}

// arches are the architectures that Go has for Linux, each with its names: what uname -m says,
// GOARCH, and what collections write.
var arches = [][]string{
	{"i386", "i486", "i586", "i686", "386", "x86"},
	{"x86_64", "amd64"},
	{"armv5tl", "armv5tel", "armv5tejl", "armv6l", "armv7l", "arm"},
	{"aarch64", "arm64"},
	{"loongarch64", "loong64"},
	{"mips", "mipsle"},
	{"mips64", "mips64le"},
	{"ppc64"},
	{"ppc64le"},
	{"riscv64"},
	{"s390x"},
}

// sameArch reports whether two names are those of one architecture.
func sameArch(a, b string) bool {
	return a == b || slices.ContainsFunc(arches, func(names []string) bool {
		return slices.Contains(names, a) && slices.Contains(names, b)
	})
}

// Find returns the kernels of an architecture, as uname -m or GOARCH say it, with a release,
// whose names begin with prefix, a path. The architecture is the kernel's: that of a program
// may be another one, as 32-bit programs run on 64-bit kernels.
func Find(kernels []Kernel, arch, release, prefix string) []Kernel {
	var found []Kernel
	for _, k := range kernels {
		if k.Release() != release || !sameArch(k.Arch(), arch) {
			continue
		}
		if prefix == "" || k.Name == prefix || strings.HasPrefix(k.Name, strings.TrimSuffix(prefix, "/")+"/") {
			found = append(found, k)
		}
	}
	return found
}
