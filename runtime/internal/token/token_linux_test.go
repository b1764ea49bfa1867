package token

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/internal/privilege"
)

// noVariable unsets the variable for the test.
func noVariable(t *testing.T) {
	t.Helper()
	t.Setenv(Variable, "") // which restores it
	if err := os.Unsetenv(Variable); err != nil {
		t.Fatal(err)
	}
}

// setNamespace makes this process one that is in the initial user namespace, or not.
func setNamespace(t *testing.T, initial bool) {
	before := privilege.InInitialUserNamespace
	privilege.InInitialUserNamespace = func() bool { return initial }
	t.Cleanup(func() { privilege.InInitialUserNamespace = before })
}

// A path that is given counts before the variable, and that before the place where a bpffs
// usually is, which is looked at outside of the initial user namespace alone. A token that is
// asked for and cannot be had is an error; without being asked for it is not.
func TestOrder(t *testing.T) {
	none, other := filepath.Join(t.TempDir(), "none"), filepath.Join(t.TempDir(), "other")
	wantMissing := func(err error, path, also string) {
		t.Helper()
		if !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), "make a BPF token from "+path+": ") || !strings.Contains(err.Error(), HowToGet) || !strings.Contains(err.Error(), also) {
			t.Errorf("%v, want the reason why there is none from %s", err, path)
		}
	}
	t.Run("path", func(t *testing.T) {
		for _, variable := range []string{"", other} {
			t.Setenv(Variable, variable)
			got, err := Open(none)
			wantMissing(err, none, "")
			if strings.Contains(err.Error(), Variable) || got != (Token{}) {
				t.Errorf("%+v, %v", got, err)
			}
		}
	})
	t.Run("variable", func(t *testing.T) {
		for _, initial := range []bool{true, false} {
			setNamespace(t, initial)
			t.Setenv(Variable, other)
			got, err := Open("")
			wantMissing(err, other, Variable+": ")
			if got != (Token{}) {
				t.Errorf("%+v", got)
			}
		}
	})
	t.Run("empty variable", func(t *testing.T) {
		setNamespace(t, false)
		t.Setenv(Variable, "")
		if got, err := Open(""); got != (Token{}) || err != nil {
			t.Errorf("%+v, %v: want none", got, err)
		}
	})
	t.Run("nothing in the initial user namespace", func(t *testing.T) {
		noVariable(t)
		setNamespace(t, true)
		if got, err := Open(""); got != (Token{}) || err != nil {
			t.Errorf("%+v, %v: want none", got, err)
		}
	})
	t.Run("nothing elsewhere", func(t *testing.T) {
		if !privilege.InInitialUserNamespace() {
			t.Skip("needs the initial user namespace, in which there is no token to be had")
		}
		noVariable(t)
		setNamespace(t, false)
		got, err := Open("")
		if got.FD != 0 || got.Path != "" || got.Absent == nil || err != nil {
			t.Errorf("%+v, %v: want a reason why there is none", got, err)
		}
		if err := got.Close(); err != nil {
			t.Error(err)
		}
	})
}

// What a path may be that is not a mount of a bpffs.
func TestNotAMount(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file); !errors.Is(err, unix.ENOTDIR) || !strings.Contains(err.Error(), "it is not a directory") {
		t.Errorf("a file: %v", err)
	}
}

// The kernel's answers, and what they mean.
func TestExplain(t *testing.T) {
	answer := errors.New("bpf(BPF_TOKEN_CREATE): answer")
	for errno, want := range map[unix.Errno]string{
		unix.EOPNOTSUPP: "in the initial user namespace, where there are no tokens",
		unix.ENOENT:     "delegates nothing: " + HowToGet,
		unix.ENOTDIR:    "a token is made from the directory",
		unix.EPERM:      "lacks CAP_BPF in its own: " + HowToGet,
		unix.EACCES:     "lacks CAP_BPF in its own: " + HowToGet,
		unix.EINVAL:     ": ", // which depends on the kernel
		unix.EMFILE:     "",
	} {
		err := explain(t.TempDir(), errno, answer)
		if !errors.Is(err, answer) || !strings.Contains(err.Error(), want) || (err == answer) != (want == "") {
			t.Errorf("%v: %v, want %q", errno, err, want)
		}
	}
}

func TestDelegates(t *testing.T) {
	const mountinfo = `26 1 0:24 / / rw,relatime - ext4 /dev/vda1 rw
261 26 0:30 / /sys/fs/bpf rw - bpf none rw,delegate_cmds=any
61 26 0:31 / /run/bpf rw,nosuid shared:5 - bpf none rw,mode=700,delegate_cmds=map_create:prog_load,delegate_maps=any
`
	for fdinfo, want := range map[string]string{
		"pos:\t0\nflags:\t012000000\nmnt_id:\t61\nino:\t1\n": "delegate_cmds=map_create:prog_load,delegate_maps=any",
		"mnt_id:\t261\n": "delegate_cmds=any",
		"mnt_id:\t26\n":  "",
		"mnt_id:\t6\n":   "",
	} {
		if got := delegates(fdinfo, mountinfo); got != want {
			t.Errorf("%q: %q, want %q", fdinfo, got, want)
		}
	}
	if got := (Token{Path: filepath.Join(t.TempDir(), "none")}).Delegates(); got != "" {
		t.Errorf("of nothing: %q", got)
	}
}
