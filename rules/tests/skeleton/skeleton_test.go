package skeleton

import (
	"testing"

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
