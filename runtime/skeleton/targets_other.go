//go:build !linux

package skeleton

// No other system has what programs attach to.

func isMissing(error) bool { return false }

func findTargets([]*BaseProgram) []error { return nil }
