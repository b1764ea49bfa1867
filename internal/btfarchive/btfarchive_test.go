package btfarchive_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/internal/btfarchive"
)

var kernels = []btfarchive.Kernel{
	{"ubuntu/20.04/x86_64/5.4.0-91-generic", []byte("one")},
	{"ubuntu/18.04/x86_64/5.4.0-91-generic", []byte("one")},
	{"debian/10/arm64/4.19.0-18-arm64", []byte("two")},
	{"fedora/33/aarch64/5.8.15-301.fc33.aarch64", []byte("")},
}

func TestArchive(t *testing.T) {
	data, err := btfarchive.Make(kernels)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(data, []byte("one")); n != 1 {
		t.Errorf("the same types are there %d times", n)
	}
	read, err := btfarchive.Read(data)
	if err != nil {
		t.Fatal(err)
	}
	want := []btfarchive.Kernel{kernels[2], kernels[3], kernels[1], kernels[0]}
	if !reflect.DeepEqual(read, want) {
		t.Errorf("got %q\nwant %q", read, want)
	}
	for _, tt := range []struct {
		arch, release, prefix, want string
	}{
		{"amd64", "5.4.0-91-generic", "", "ubuntu/18.04/x86_64/5.4.0-91-generic ubuntu/20.04/x86_64/5.4.0-91-generic"},
		{"amd64", "5.4.0-91-generic", "ubuntu/20.04", "ubuntu/20.04/x86_64/5.4.0-91-generic"},
		{"amd64", "5.4.0-91-generic", "ubuntu/20.0", ""},
		{"amd64", "5.4.0-91-generic", "ubuntu/", "ubuntu/18.04/x86_64/5.4.0-91-generic ubuntu/20.04/x86_64/5.4.0-91-generic"},
		{"amd64", "5.4.0-91-generic", "ubuntu/18.04/x86_64/5.4.0-91-generic", "ubuntu/18.04/x86_64/5.4.0-91-generic"},
		{"arm64", "4.19.0-18-arm64", "", "debian/10/arm64/4.19.0-18-arm64"},
		{"arm64", "5.8.15-301.fc33.aarch64", "", "fedora/33/aarch64/5.8.15-301.fc33.aarch64"},
		{"x86_64", "5.4.0-91-generic", "ubuntu/20.04", "ubuntu/20.04/x86_64/5.4.0-91-generic"},
		{"aarch64", "4.19.0-18-arm64", "", "debian/10/arm64/4.19.0-18-arm64"},
		{"aarch64", "5.8.15-301.fc33.aarch64", "", "fedora/33/aarch64/5.8.15-301.fc33.aarch64"},
		{"i686", "5.4.0-91-generic", "", ""},
		{"vax", "5.4.0-91-generic", "", ""},
		{"arm64", "5.4.0-91-generic", "", ""},
		{"amd64", "5.4.0-91", "", ""},
	} {
		var names []string
		for _, k := range btfarchive.Find(read, tt.arch, tt.release, tt.prefix) {
			names = append(names, k.Name)
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("%s %s %s: got %q, want %q", tt.arch, tt.release, tt.prefix, got, tt.want)
		}
	}
}

func TestNames(t *testing.T) {
	const form, arch = "is not called DISTRIBUTION/VERSION/ARCHITECTURE/RELEASE, ", " in the place of the ARCHITECTURE, "
	for _, tt := range []struct {
		names []string
		want  string
	}{
		{[]string{"a/b/arm64"}, form},
		{[]string{"a/b/arm64/d e"}, form},
		{[]string{"a/b//d"}, form},
		{[]string{"a/b/arm64/d\n"}, form},
		{[]string{"a/b/arm64/d/e"}, form},
		{[]string{"a/b/arm64/d", "a/b/arm64/d"}, "a/b/arm64/d: is there twice"},
		{[]string{"rv/kern/mine/5.4.0-91-generic"}, `"rv/kern/mine/5.4.0-91-generic": has "mine"` + arch},
		{[]string{"a/x86_64/b/d"}, `has "b"` + arch},
	} {
		var list []btfarchive.Kernel
		for _, name := range tt.names {
			list = append(list, btfarchive.Kernel{Name: name})
		}
		if _, err := btfarchive.Make(list); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %s", tt.names, err, tt.want)
		}
	}
	for _, arch := range []string{"386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64", "s390x"} {
		if err := btfarchive.CheckName("a/b/" + arch + "/d"); err != nil {
			t.Error(err)
		}
	}
	// An archive that was made when nobody looked is read.
	if kernels, err := btfarchive.Read([]byte("rules_bpf kernel types 1\na/b/mine/d 0 0\n\n")); err != nil || len(kernels) != 1 {
		t.Errorf("%v, %v", kernels, err)
	}
}

// Whatever is done to a file, it is read, or refused.
func FuzzRead(f *testing.F) {
	data, err := btfarchive.Make(kernels)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("rules_bpf kernel types 1\n\n"))
	f.Add([]byte("rules_bpf kernel types 1\na/b/c/d 4294967295 4294967295\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := btfarchive.Read(data); err != nil && !errors.Is(err, btfarchive.ErrDamaged) {
			t.Error(err)
		}
	})
}
