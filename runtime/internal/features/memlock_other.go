//go:build !linux

package features

// RemoveMemlock does nothing: only Linux has BPF.
func RemoveMemlock() {}
