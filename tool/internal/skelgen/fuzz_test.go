package skelgen_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/internal/subskel"
	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/imagegen"
	"github.com/rules-bpf/rules_bpf/tool/internal/objtest"
	"github.com/rules-bpf/rules_bpf/tool/internal/skelgen"
	"github.com/rules-bpf/rules_bpf/tool/internal/subskelobj"
)

// FuzzSkeleton reads any bytes as an object. There must be an error of readable
// lines, or Go code that compiles.
func FuzzSkeleton(f *testing.F) {
	for _, files := range []map[string]*objtest.File{golden, goldenSub} {
		for _, name := range slices.Sorted(maps.Keys(files)) {
			file := *files[name]
			f.Add(file.Build())
			file.Linked = true
			f.Add(file.Build())
			file.Order = binary.BigEndian
			f.Add(file.Build())
		}
	}
	f.Fuzz(checkSkeleton)
}

// FuzzBTF reads any bytes as the BTF of an object that is right otherwise, which
// gets deeper into types than damage all over a file.
func FuzzBTF(f *testing.F) {
	for _, name := range slices.Sorted(maps.Keys(golden)) {
		file := *golden[name]
		f.Add(name, section(f, file.Build(), ".BTF"))
		file.Linked = true
		f.Add(name, section(f, file.Build(), ".BTF"))
	}
	f.Fuzz(func(t *testing.T, name string, raw []byte) {
		file, ok := golden[name]
		if !ok {
			// Most names that fuzzing makes up are none.
			file = constructsFile
		}
		object := *file
		object.NoBTF = true
		object.Sections = []objtest.Section{{Name: ".BTF", Type: elf.SHT_PROGBITS, Data: raw}}
		checkSkeleton(t, object.Build())
	})
}

// section returns the contents of a section of an object.
func section(f *testing.F, object []byte, name string) []byte {
	file, err := elf.NewFile(bytes.NewReader(object))
	if err != nil {
		f.Fatal(err)
	}
	data, err := file.Section(name).Data()
	if err != nil {
		f.Fatal(err)
	}
	return data
}

// checkSkeleton makes a skeleton of the object, and a subskeleton, as if it were a
// library.
func checkSkeleton(t *testing.T, data []byte) {
	checkSubskeleton(t, data)
	obj, err := bpfobj.Read("fuzz.bpf.o", data)
	if err != nil {
		checkError(t, err)
		return
	}
	loaded, err := imagegen.Build("x.bpf.o", data)
	if err != nil {
		checkError(t, err)
		return
	}
	src, err := skelgen.Skeleton(obj, loaded, skelgen.Options{Package: "fuzz"})
	if err != nil {
		checkError(t, err)
		if strings.Contains(err.Error(), "defect of bpfgen") {
			t.Error(err)
		}
		return
	}
	checkCompiles(t, src)
}

func checkSubskeleton(t *testing.T, data []byte) {
	lib, err := bpfobj.ReadLibrary("fuzz.bpf.o", data)
	if err != nil {
		checkError(t, err)
		return
	}
	src, err := skelgen.Subskeleton(lib, skelgen.Options{Package: "fuzz"})
	if err != nil {
		checkError(t, err)
		if strings.Contains(err.Error(), "defect of bpfgen") {
			t.Error(err)
		}
		return
	}
	checkCompiles(t, src)
	// What the code carries can be read again.
	needs := subskelobj.Library(lib)
	raw, err := needs.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	carried, err := subskel.Unmarshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	if len(carried.Vars) != len(needs.Vars) || len(carried.Maps) != len(needs.Maps) {
		t.Errorf("%d variables and %d maps became %d and %d", len(needs.Vars), len(needs.Maps), len(carried.Vars), len(carried.Maps))
	}
}

func checkCompiles(t *testing.T, src []byte) {
	// Two that differ in everything that matters to a layout.
	for _, arch := range []string{"amd64", "386"} {
		if err := typeCheck(src, arch); err != nil {
			t.Errorf("%s: %v\n%s", arch, err, src)
		}
	}
}

// checkError makes sure that an error is one that people can read.
func checkError(t *testing.T, err error) {
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == '\ufffd' }) {
			t.Errorf("error with a line that is not readable: %q", line)
		}
		// The net under the packages that read the file: nothing falls into it that
		// is known.
		if strings.Contains(line, "runtime error") {
			t.Errorf("a panic was caught: %s", line)
		}
	}
}

// FuzzVariants reads any bytes as the BTF of an object that is a variant of one that is
// right, and shares types with it.
func FuzzVariants(f *testing.F) {
	for _, name := range slices.Sorted(maps.Keys(golden)) {
		file := *golden[name]
		file.Linked = true
		for _, other := range []string{"constructs", "types"} {
			f.Add(name, section(f, file.Build(), ".BTF"), other)
		}
	}
	f.Fuzz(func(t *testing.T, name string, raw []byte, other string) {
		file, right := golden[name], golden[other]
		if file == nil || right == nil {
			return
		}
		object := *file
		object.NoBTF = true
		object.Sections = []objtest.Section{{Name: ".BTF", Type: elf.SHT_PROGBITS, Data: raw}}
		var variants []skelgen.Variant
		for i, data := range [][]byte{right.Build(), object.Build()} {
			obj, err := bpfobj.Read("fuzz.bpf.o", data)
			if err != nil {
				checkError(t, err)
				return
			}
			img, err := imagegen.Build("fuzz.bpf.o", data)
			if err != nil {
				checkError(t, err)
				return
			}
			variants = append(variants, skelgen.Variant{Name: []string{"right", "fuzzed"}[i], File: "fuzz.bpf.o", Object: obj, Image: img})
		}
		src, err := skelgen.Variants(variants, skelgen.Options{Package: "fuzz"})
		if err != nil {
			checkError(t, err)
		} else {
			checkCompiles(t, src)
		}
		shared, names, err := skelgen.Types(variants, skelgen.Options{Package: "shared"})
		if err != nil {
			checkError(t, err)
			return
		}
		checkCompiles(t, shared)
		from, err := skelgen.ParseTypes("example.com/shared", names)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range variants {
			src, err := skelgen.Skeleton(v.Object, v.Image, skelgen.Options{Package: "fuzz", TypesFrom: from})
			if err != nil {
				t.Fatal(err)
			}
			checkWith(t, shared, src)
		}
	})
}
