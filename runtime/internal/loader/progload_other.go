//go:build !linux

package loader

func mayParallel() bool { return false }
