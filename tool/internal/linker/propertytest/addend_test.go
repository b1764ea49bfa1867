package propertytest_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker"
	"github.com/rules-bpf/rules_bpf/tool/internal/linker/linkertest"
)

// returns runs program prog of an object, in the form of a skeleton and as it is, and
// checks what it returns.
func returns(t *testing.T, data []byte, want uint32) {
	t.Helper()
	for form, read := range map[string]func() (*ebpf.CollectionSpec, error){
		"in a skeleton": func() (*ebpf.CollectionSpec, error) { return linkertest.Spec(data) },
		"as it is":      func() (*ebpf.CollectionSpec, error) { return ebpf.LoadCollectionSpecFromReader(bytes.NewReader(data)) },
	} {
		spec, err := read()
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		coll, err := ebpf.NewCollection(spec)
		if err != nil {
			t.Fatalf("%s: %+v", form, err)
		}
		got, _, err := coll.Programs["prog"].Test(make([]byte, 64))
		coll.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s: the program returns %d, want %d", form, got, want)
		}
	}
}

// A reference to the inside of a variable, with the variable's symbol, is one to the
// same element after the link, and for each loader.
func TestAddends(t *testing.T) {
	bpftest.NeedsBPF(t)
	const license = `char LICENSE[] SEC("license") = "GPL";` + "\n"
	const other = license + `
int front[5] = { 1, 2, 3, 4, 5 };
const volatile int front_const[3] = { 1, 2, 3 };
static volatile int front_static[9] = { 7 };
SEC("tc") int other(void *ctx) { return front[1] + front_const[1] + front_static[2]; }`
	for name, file := range map[string]string{
		"global": `
int pad[4] = { 1, 2, 3, 4 };
int arr[8] = { 10, 11, 12, 13, 14, 15, 16, 17 };
SEC("tc") int prog(void *ctx) { int *q; asm volatile("%0 = arr + 20 ll" : "=r"(q)); return *q + pad[0] * 1000 + arr[0] * 0; }`,
		"static": `
static volatile int pad[4] = { 1, 2, 3, 4 };
static volatile int arr[8] = { 10, 11, 12, 13, 14, 15, 16, 17 };
SEC("tc") int prog(void *ctx) { int *q; asm volatile("%0 = arr + 20 ll" : "=r"(q)); return *q + pad[0] * 1000 + arr[0] * 0; }`,
		"const": `
const volatile int pad[4] = { 1, 2, 3, 4 };
const volatile int arr[8] = { 10, 11, 12, 13, 14, 15, 16, 17 };
SEC("tc") int prog(void *ctx) { int *q; asm volatile("%0 = arr + 20 ll" : "=r"(q)); return *q + pad[0] * 1000 + arr[0] * 0; }`,
		"hidden, in a section of its own": `
int pad[4] SEC(".data.own") = { 1, 2, 3, 4 };
__hidden int arr[8] SEC(".data.own") = { 10, 11, 12, 13, 14, 15, 16, 17 };
SEC("tc") int prog(void *ctx) { int *q; asm volatile("%0 = arr + 20 ll" : "=r"(q)); return *q + pad[0] * 1000 + arr[0] * 0; }`,
		"before the start": `
int pad[4] = { 1, 2, 3, 4 };
int arr[8] = { 10, 11, 12, 13, 14, 15, 16, 17 };
SEC("tc") int prog(void *ctx) { int *q; asm volatile("%0 = arr - 8 ll" : "=r"(q)); return q[7] + pad[0] * 1000 + arr[0] * 0; }`,
		"zeros": `
int pad[4], arr[8];
SEC("tc") int prog(void *ctx)
{
	int *q;
	asm volatile("%0 = arr + 20 ll" : "=r"(q));
	pad[0] = 1;
	*q = 15;
	return arr[5] + pad[0] * 1000;
}`,
	} {
		t.Run(name, func(t *testing.T) {
			inputs := linkertest.Compile(t, "bpfel", license+file, other)
			for _, set := range [][]linker.Input{{inputs[0]}, {inputs[0], inputs[1]}, {inputs[1], inputs[0]}} {
				data, err := linker.Link(set, linker.Options{})
				if err != nil {
					t.Fatal(err)
				}
				returns(t, data, 1015)
			}
			// Without a link, as a skeleton can be made of it too.
			spec, err := linkertest.Spec(inputs[0].Data)
			if err != nil {
				t.Fatal(err)
			}
			coll, err := ebpf.NewCollection(spec)
			if err != nil {
				t.Fatal(err)
			}
			defer coll.Close()
			if got, _, err := coll.Programs["prog"].Test(make([]byte, 64)); err != nil || got != 1015 {
				t.Errorf("without a link: the program returns %d, want 1015: %v", got, err)
			}
		})
	}
	// A weak definition that lost is not what the reference means.
	inputs := linkertest.Compile(t, "bpfel", license+`
int pad[4] = { 1, 2, 3, 4 };
int arr[8] __weak = { 90, 91 };
SEC("tc") int prog(void *ctx) { int *q; asm volatile("%0 = arr + 20 ll" : "=r"(q)); return *q + pad[0] * 1000 + arr[0] * 0; }`,
		license+`int before = 3; int arr[8] = { 10, 11, 12, 13, 14, 15, 16, 17 }; SEC("tc") int other(void *ctx) { return before + arr[1]; }`)
	data, err := linker.Link(inputs, linker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	returns(t, data, 1015)
}

// Objects of GCC's BPF back end, alone and with those of clang. GCC refers to the
// inside of variables with their symbols; GCC 12's assembler, with them and offsets
// from the start of the section.
func TestGCC(t *testing.T) {
	gcc, err := exec.LookPath("bpf-gcc")
	if err != nil {
		t.Skip("needs GCC's BPF back end (package gcc-bpf) on PATH")
	}
	bpftest.NeedsBPF(t)
	dir := t.TempDir()
	const source = linkertest.Prelude + `
char LICENSE[] SEC("license") = "GPL";
int before[16];
int big[16384];
int last = 5;
static volatile int own[4] = { 1, 2, 3, 4 };
extern int shared[8];
__attribute__((section("tc"), used)) int prog(void *ctx)
{
	big[9000] = 7;
	before[3] = 1;
	int *q = &shared[5];
	asm volatile("" : "+r"(q));
	return big[9000] + before[3] * 100 + last * 1000 + own[2] * 10000 + *q * 100000;
}`
	if err := os.WriteFile(filepath.Join(dir, "gcc.c"), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(gcc, "-O2", "-gbtf", "-mcpu=v3", "-c", "gcc.c")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	object, err := os.ReadFile(filepath.Join(dir, "gcc.o"))
	if err != nil {
		t.Fatal(err)
	}
	inputs := append(linkertest.Compile(t, "bpfel", `
char LICENSE[] SEC("license") = "GPL";
int first = 9;
int shared[8] = { 0, 1, 2, 3, 4, 8 };
SEC("tc") int other(void *ctx) { return shared[1] + first; }`), linker.Input{Name: "gcc.o", Data: object})
	for _, order := range permutations(inputs) {
		data, err := linker.Link(order, linker.Options{})
		if err != nil {
			t.Fatal(err)
		}
		returns(t, data, 835107)
	}
}
