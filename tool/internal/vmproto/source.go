package vmproto

import "embed"

// Source has the file that the guest needs of this package: see vmguest.Source.
//
//go:embed vmproto.go
var Source embed.FS
