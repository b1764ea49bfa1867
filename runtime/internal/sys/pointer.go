//go:build !(386 || arm || mips || mipsle)

package sys

import "unsafe"

// Pointer is an address in attributes, 64 bits wide on all machines.
type Pointer struct {
	p unsafe.Pointer
}
