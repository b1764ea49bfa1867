//go:build linux && (386 || arm || mips || mipsle)

package skeleton

import "golang.org/x/sys/unix"

// mmapTrap is the call whose offset counts pages; on 386 the older one takes
// its arguments in memory.
const mmapTrap = unix.SYS_MMAP2
