//go:build !linux

package loader

// No other system has a bpffs: what needs one has failed by then.

func checkPinDirectory(string) error { return nil }

func checkIsMap(int) error { return nil }
