package skeleton

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/rules/tests/skeleton/again"
	"github.com/rules-bpf/rules_bpf/rules/tests/skeleton/consumer"
	"github.com/rules-bpf/rules_bpf/rules/tests/skeleton/full"
	"github.com/rules-bpf/rules_bpf/rules/tests/skeleton/generatedsource"
)

// The headers and flags of all attributes were found: each is one bit.
func TestHeaders(t *testing.T) {
	skel, err := full.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	if got := skel.Data.Sum; got != 255 {
		t.Errorf("sum is %#b, want all bits of %#b", got, 255)
	}
}

func TestObjectAsSource(t *testing.T) {
	skel, err := again.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	if got := skel.Data.Sum; got != 255 {
		t.Errorf("sum is %d, want 255", got)
	}
}

// The object file is in the package when it is asked for, and cilium/ebpf reads it.
func TestELF(t *testing.T) {
	skel, err := again.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	spec, err := ebpf.LoadCollectionSpecFromReader(strings.NewReader(skel.ELF()))
	if err != nil {
		t.Fatal(err)
	}
	if spec.Maps[".data"] == nil {
		t.Errorf("the object has the maps %v", spec.Maps)
	}
	without, err := full.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer without.Close()
	if n := len(without.ELF()); n != 0 {
		t.Errorf("%d bytes of ELF in a package that does not ask for it", n)
	}
}

func TestGeneratedSource(t *testing.T) {
	skel, err := generatedsource.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	if got := skel.Data.Value; got != 1 {
		t.Errorf("value is %d, want 1", got)
	}
}

func TestEmbeddedInTest(t *testing.T) {
	skel, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	if got := skel.Data.Answer; got != 42 {
		t.Errorf("answer is %d, want 42", got)
	}
}

func TestEmbeddedInLibrary(t *testing.T) {
	got, err := consumer.Answer()
	if err != nil {
		t.Fatal(err)
	}
	if got != 42 {
		t.Errorf("answer is %d, want 42", got)
	}
}
