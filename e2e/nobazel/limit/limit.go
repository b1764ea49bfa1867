// Package limit is the subskeleton of a BPF library that counts packets.
package limit

//go:generate go tool bpfgen generate -library limit limit.bpf.c
