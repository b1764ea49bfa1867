package sys

import "unsafe"

// Pointer is an address in attributes, 64 bits wide on all machines.
type Pointer struct {
	_ uint32
	p unsafe.Pointer
}
