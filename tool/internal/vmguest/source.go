package vmguest

import "embed"

// Source has the files of this package, of which bpfvm builds the guest for the
// CPU of a kernel.
//
//go:embed vmguest.go prepare.go sys.go
var Source embed.FS
