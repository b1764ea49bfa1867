package skelgen_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/rules-bpf/rules_bpf/tool/internal/bpfobj"
	"github.com/rules-bpf/rules_bpf/tool/internal/imagegen"
	. "github.com/rules-bpf/rules_bpf/tool/internal/objtest"
	"github.com/rules-bpf/rules_bpf/tool/internal/skelgen"
)

// large is an object with 1,050 variables, 200 programs and 60 maps.
func large() *File {
	f := &File{License: "GPL"}
	sections := []string{".data", ".bss", ".rodata"}
	mode := Enum("mode", V("MODE_OFF", 0), V("MODE_ON", 1))
	types := []btf.Type{U64, U32, Array(Char, 16), mode, Array(U64, 8)}
	for i := range 20 {
		types = append(types, Struct(fmt.Sprintf("stats_%d", i), M("packets", U64), M("bytes", U64), M("name", Array(Char, 16)), M("mode", mode)))
	}
	for i := range 1050 {
		f.Vars = append(f.Vars, Var{Section: sections[i%3], Name: fmt.Sprintf("variable_number_%d", i), Type: types[i%len(types)]})
	}
	for i := range 60 {
		f.Vars = append(f.Vars, Var{Section: ".maps", Name: fmt.Sprintf("map_number_%d", i), Type: Map(1, 1024, U32, types[i%len(types)])})
	}
	for i := range 200 {
		var refs []string
		for j := range 10 {
			refs = append(refs, fmt.Sprintf("variable_number_%d", (i*10+j)%1050))
		}
		f.Programs = append(f.Programs, Program{Name: fmt.Sprintf("program_number_%d", i), Section: fmt.Sprintf("kprobe/function_%d", i), Refs: refs})
	}
	return f
}

func benchmark(b *testing.B, data []byte) {
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		obj, err := bpfobj.Read("large.bpf.o", data)
		if err != nil {
			b.Fatal(err)
		}
		loaded, err := imagegen.Build("x.bpf.o", data)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := skelgen.Skeleton(obj, loaded, skelgen.Options{Package: "large"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSmall(b *testing.B) { benchmark(b, minimalFile.Build()) }
func BenchmarkLarge(b *testing.B) { benchmark(b, large().Build()) }

func BenchmarkLargeSubskeleton(b *testing.B) {
	data := large().Build()
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		lib, err := bpfobj.ReadLibrary("large.o", data)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := skelgen.Subskeleton(lib, skelgen.Options{Package: "large"}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEqualNames is the worst that names can do.
func BenchmarkEqualNames(b *testing.B) {
	f := large()
	for i := range f.Vars {
		f.Vars[i].Name = strings.Repeat("_", i+1)
	}
	for i := range f.Programs {
		f.Programs[i].Refs = nil
	}
	benchmark(b, f.Build())
}

// BenchmarkMegabytes is an object that is large for its data.
func BenchmarkMegabytes(b *testing.B) { benchmark(b, withData(large(), 2<<20)) }

// withData returns an object with a variable of size bytes, none of them zero.
func withData(f *File, size int) []byte {
	out := *f
	if size > 0 {
		payload := make([]byte, size)
		for i := range payload {
			payload[i] = byte(i%251 + 1)
		}
		out.Vars = append(slices.Clone(f.Vars), Var{Section: ".data.payload", Name: "payload", Type: Array(Char, uint32(size)), Value: payload})
	}
	return out.Build()
}

func TestLarge(t *testing.T) {
	data := large().Build()
	src := generate(t, "large", "large.bpf.o", data)
	for _, arch := range arches {
		if err := typeCheck(src, arch); err != nil {
			t.Errorf("%s: %v", arch, err)
		}
	}
}

// The image's lines are few however large it is, and hold it byte for byte.
func TestObjectLines(t *testing.T) {
	for _, size := range []int{0, 1, 1000, 2 << 20} {
		data := withData(minimalFile, size)
		src := generate(t, "minimal", "minimal.bpf.o", data)
		lines := strings.Split(strings.TrimSuffix(string(src[len(withoutObject(src)):]), "\n"), "\n")[3:]
		if len(lines) > 500 {
			t.Errorf("%d bytes: %d lines", len(data), len(lines))
		}
		img, err := imagegen.Build("minimal.bpf.o", data)
		if err != nil {
			t.Fatal(err)
		}
		want, err := img.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got := objectOf(t, src); got != string(want) {
			t.Errorf("%d bytes: the source holds %d, or others", len(want), len(got))
		}
	}
}

// Zeros take no source: a large array whose last element alone has a value.
func TestZeros(t *testing.T) {
	f := *minimalFile
	value := append(make([]byte, 4<<20-1), 1)
	f.Vars = append(slices.Clone(f.Vars), Var{Section: ".data.payload", Name: "payload", Type: Array(Char, 4<<20), Value: value})
	if src := generate(t, "minimal", "minimal.bpf.o", f.Build()); len(src) > 20_000 {
		t.Errorf("the source has %d bytes", len(src))
	}
}
