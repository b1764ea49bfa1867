// Package cgo has BPF C beside C that Go calls.
package cgo

// #include "native.h"
// #include "shared.h"
import "C"

import (
	"example.com/goldens/cgo/first"
	"example.com/goldens/cgo/second"
)

// Limit asks the C of this package.
func Limit() int { return int(C.native_limit()) + C.SHARED_LIMIT }

// Open opens the objects.
func Open() error {
	if _, err := first.Open(); err != nil {
		return err
	}
	_, err := second.Open()
	return err
}
