package tools_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The source of BenchmarkVariants has the numbers of a large project: 57 objects of it have
// 2,400 Go types, of which 73 differ.
const (
	manyVariants = 57
	variantMaps  = 60
	equalTypes   = 41
	layouts      = 32
)

// variantsSource returns C that is compiled once for each value of VARIANT. The bits of
// VARIANT are features that programs have or not; the first ones make a map and a variable
// too, and the value decides the layout of a type that two maps have.
func variantsSource() string {
	var b strings.Builder
	b.WriteString(`#define SEC(name) __attribute__((section(name), used))
typedef unsigned int u32;
typedef unsigned long long u64;
static void *(*const lookup)(void *map, const void *key) = (void *)1;
char LICENSE[] SEC("license") = "GPL";
const volatile u64 limit = 5;
u64 total;
`)
	fmt.Fprintf(&b, "struct state { u64 sums[VARIANT %% %d + 1]; };\n", layouts)
	for i := range equalTypes {
		fmt.Fprintf(&b, "struct value_%d { u64 sums[%d]; u32 count; };\n", i, i+1)
	}
	for i := range variantMaps {
		value := fmt.Sprintf("struct value_%d", i%(equalTypes+1))
		if i%(equalTypes+1) == equalTypes {
			value = "struct state"
		}
		if i < 2 {
			fmt.Fprintf(&b, "#if VARIANT & %d\nu64 of_feature_%d;\n", 1<<i, i)
		}
		fmt.Fprintf(&b, "struct { int (*type)[1]; int (*max_entries)[64]; u32 *key; %s *value; } map_%d SEC(\".maps\");\n", value, i)
		if i < 2 {
			b.WriteString("#endif\n")
		}
	}
	for i := range 20 {
		fmt.Fprintf(&b, "SEC(\"kprobe/function_%d\") int program_%d(void *ctx)\n{\n\tu32 key = limit;\n\tu64 sum = 0, *value;\n", i, i)
		for j := range 20 {
			fmt.Fprintf(&b, "\tvalue = lookup(&map_%d, &key);\n\tif (value) sum += *value;\n", 2+(i*3+j)%(variantMaps-2))
			if bit := (i + j) % 12; bit < 6 {
				fmt.Fprintf(&b, "#if VARIANT & %d\n\tkey += sum >> %d;\n#endif\n", 1<<bit, j+1)
			}
		}
		b.WriteString("\ttotal += sum;\n\treturn 0;\n}\n")
	}
	return b.String()
}

// BenchmarkVariants compares one Go package of 57 variants with 57 packages: Go source,
// types, and what the Go compiler takes and makes.
//
//	go test -run '^$' -bench '^BenchmarkVariants$' -benchtime 1x tests/bench/tools/*_test.go
//
// On a machine of two CPUs, with Go 1.26:
//
//	              one package  57 packages
//	Go source          2.5 MB      22.7 MB    9 times less
//	types of C             74        2,508   34 times
//	functions           1,740       70,737   41 times
//	CPU time            1.1 s       33.6 s   30 times
//	archive            7.7 MB       287 MB   37 times
func BenchmarkVariants(b *testing.B) {
	gen, imports := compileSetup(b)
	dir := b.TempDir()
	source := filepath.Join(dir, "probe.bpf.c")
	if err := os.WriteFile(source, []byte(variantsSource()), 0o666); err != nil {
		b.Fatal(err)
	}
	type packages struct {
		goCompile
		types, source int
	}
	measure := func(args ...string) packages {
		c := compileGo(b, gen, imports, args...)
		return packages{c, len(regexp.MustCompile(`(?m)^type \w+ struct \{\n\t_ +structs\.HostLayout`).FindAllString(c.text, -1)), len(c.text)}
	}
	for b.Loop() {
		var flags []string
		var apart packages
		for i := range manyVariants {
			object := filepath.Join(dir, fmt.Sprintf("v%d", i), "probe.bpf.o")
			if err := os.MkdirAll(filepath.Dir(object), 0o777); err != nil {
				b.Fatal(err)
			}
			cmd := exec.Command("clang", "-g", "-O2", "-mcpu=v3", "-target", "bpfel", fmt.Sprintf("-DVARIANT=%d", i), "-c", source, "-o", object)
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("clang: %v: %s", err, out)
			}
			flags = append(flags, "-variant", fmt.Sprintf("v%d=%s", i, object))
			p := measure(object)
			apart.cpu += p.cpu
			apart.archive += p.archive
			apart.functions += p.functions
			apart.types += p.types
			apart.source += p.source
		}
		one := measure(flags...)
		for _, m := range []struct {
			name       string
			one, apart int
			unit       string
		}{
			{"Go source", one.source / 1000, apart.source / 1000, "kB"},
			{"types of C", one.types, apart.types, ""},
			{"functions", one.functions, apart.functions, ""},
			{"compiler", int(one.cpu.Milliseconds()), int(apart.cpu.Milliseconds()), "ms of CPU time"},
			{"archive", int(one.archive / 1000), int(apart.archive / 1000), "kB"},
		} {
			b.Logf("%-12s %7d of %7d %-14s %5.1f times less", m.name, m.one, m.apart, m.unit, float64(m.apart)/float64(m.one))
			b.ReportMetric(float64(m.apart)/float64(m.one), strings.ReplaceAll(m.name, " ", "-")+"-ratio")
		}
		// All but struct state are the same, and the structs of sections.
		if most := equalTypes + layouts + 2; one.types > most {
			b.Errorf("%d types, and %d differ", one.types, most)
		}
	}
	b.ReportMetric(0, "ns/op")
}
