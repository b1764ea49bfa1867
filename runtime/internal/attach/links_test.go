package attach

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/link"
)

// countedLink is a link that notes its name when it is closed.
type countedLink struct {
	link.Link
	name   string
	closed *[]string
	err    error
}

func (l *countedLink) Close() error {
	*l.closed = append(*l.closed, l.name)
	return l.err
}

// A link leaves its list when it is closed, by whomever, and is closed once.
func TestLinks(t *testing.T) {
	var closed []string
	var list Links
	add := func(name string, err error) link.Link {
		l := list.Watch(&countedLink{name: name, closed: &closed, err: err})
		list.Add(l)
		return l
	}
	a, b, c := add("a", nil), add("b", errors.New("b is stuck")), add("c", nil)
	if IsClosed(b) || !slices.Equal(list.Open(), []link.Link{a, b, c}) {
		t.Fatalf("open links are %v", list.Open())
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if !IsClosed(a) || !slices.Equal(list.Open(), []link.Link{b, c}) {
		t.Errorf("after a is closed, open links are %v", list.Open())
	}
	// They may depend on each other: the last is closed first, and an error stops nothing.
	add("d", nil)
	if err := CloseAll(list.Take()); err == nil || err.Error() != "b is stuck" {
		t.Errorf("error is %v", err)
	}
	if want := []string{"a", "d", "c", "b"}; !slices.Equal(closed, want) {
		t.Errorf("closed are %v, want %v", closed, want)
	}
	if open := list.Open(); len(open) > 0 {
		t.Errorf("after all were taken, open links are %v", open)
	}
	if list.Watch(&countedLink{}).(interface{ FD() int }).FD() >= 0 {
		t.Error("a link without a descriptor has one")
	}
}

func TestSplitTargets(t *testing.T) {
	for target, want := range map[string][2]string{
		"/bin/sh:main":         {"/bin/sh", "main"},
		"libc.so.6:malloc@2.2": {"libc.so.6", "malloc@2.2"},
		"a:b:c":                {"a", "b:c"},
		"main":                 {},
		":main":                {},
		"/bin/sh:":             {},
		"":                     {},
	} {
		path, function, err := SplitUser(target)
		if path != want[0] || function != want[1] || (err == nil) != (want[0] != "") {
			t.Errorf("SplitUser(%q) = %q, %q, %v", target, path, function, err)
		}
	}
	for target, want := range map[string][3]string{
		"/bin/sh:libc:setjmp": {"/bin/sh", "libc", "setjmp"},
		"/bin/sh:setjmp":      {},
		"/bin/sh::setjmp":     {},
		"a:b:c:d":             {},
		"":                    {},
	} {
		path, provider, name, err := SplitUSDT(target)
		if path != want[0] || provider != want[1] || name != want[2] || (err == nil) != (want[0] != "") {
			t.Errorf("SplitUSDT(%q) = %q, %q, %q, %v", target, path, provider, name, err)
		}
	}
}

func TestCheckIfindex(t *testing.T) {
	for _, n := range []int{0, 1, 1<<31 - 1} {
		if err := CheckIfindex(n); err != nil {
			t.Error(err)
		}
	}
	for _, wide := range []int64{-1, 1 << 31, 1<<32 + 1} {
		if n := int(wide); int64(n) == wide && CheckIfindex(n) == nil {
			t.Errorf("%d is taken", n)
		}
	}
}

// A registered table has no link in the kernel, and says what to do for one.
func TestRegistration(t *testing.T) {
	r := &registration{name: "table"}
	if !r.Closed() || r.Close() != nil {
		t.Error("a link without a map is not closed")
	}
	_, err := r.Info()
	for op, err := range map[string]error{"info on": err, "pin": r.Pin("/sys/fs/bpf/none"), "unpin": r.Unpin(), "update": r.Update(nil)} {
		if !errors.Is(err, link.ErrNotSupported) || !strings.HasPrefix(err.Error(), op+" map table: ") || !strings.Contains(err.Error(), "put it into .struct_ops.link") {
			t.Errorf("%s: %v", op, err)
		}
	}
}
