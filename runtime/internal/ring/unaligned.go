//go:build !amd64

package ring

import "runtime"

// unaligned reports whether the machine loads words from any address.
const unaligned = runtime.GOARCH == "386" || runtime.GOARCH == "arm64" || runtime.GOARCH == "ppc64" || runtime.GOARCH == "ppc64le" || runtime.GOARCH == "s390x"
