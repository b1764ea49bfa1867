package attach

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// refuseRequests makes all that the calling thread sends fail as a request for qdiscs does in a
// kernel without CONFIG_NET_SCHED.
func refuseRequests() error {
	ret := func(what uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: what} }
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SENDTO, Jf: 1},
		ret(unix.SECCOMP_RET_ERRNO | uint32(unix.EOPNOTSUPP)),
		ret(unix.SECCOMP_RET_ALLOW),
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	// The system call itself: the wrapper takes no pointer.
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, errno := unix.Syscall(unix.SYS_PRCTL, unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog))); errno != 0 {
		return os.NewSyscallError("prctl", errno)
	}
	return nil
}

// A kernel without traffic control has no filters to remove.
func TestRemoveWithoutTrafficControl(t *testing.T) {
	dir := filepath.Join(bpftest.PinDir(t), "none")
	pins, err := NewPins(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = bpftest.OnThread(func() error {
		if err := refuseRequests(); err != nil {
			return err
		}
		_, err := pins.RemoveStale(func(string) bool { return false })
		return errors.Join(err, RemovePinned(dir))
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory is there: %v", err)
	}
}

// The network namespace is in the name of a pin, however long the rest is.
func TestNetNSOfPin(t *testing.T) {
	for _, tc := range []struct {
		pin  string
		want uint64
	}{
		{pinName("filter", "tc-2-ingress"), 0},
		{pinName("filter", "tc-2-ingress") + netNSMark + "4026531840", 4026531840},
		{pinName(strings.Repeat("f", 300), "xdp-2") + netNSMark + "4026531840", 4026531840},
		{pinName("filter", "xdp-2") + netNSMark + "4026531840-2", 4026531840},
		{pinName("filter", "xdp-2") + netNSMark + "x", 0},
	} {
		if have := netNSOf(tc.pin); have != tc.want {
			t.Errorf("%s: %d, want %d", tc.pin, have, tc.want)
		}
	}
}
