package features

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// countsLocked reports whether the kernel counts BPF as locked memory, as those before Linux
// 5.11 do. Some older ones were changed not to: removing the limit there does no harm.
var countsLocked = sync.OnceValue(func() bool {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return false
	}
	var major, minor int
	if n, _ := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor); n != 2 {
		return false
	}
	return major < 5 || major == 5 && minor < 11
})

// RemoveMemlock takes away the limit on locked memory where the kernel counts BPF as such.
// Where the process may not, what it loads may still fit, and otherwise the kernel says why
// not.
func RemoveMemlock() {
	if !countsLocked() {
		return
	}
	infinite := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &infinite)
}
