//go:build linux && !(386 || arm || mips || mipsle || s390x)

package skeleton

import "golang.org/x/sys/unix"

const mmapTrap = unix.SYS_MMAP
