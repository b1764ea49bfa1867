// Package probe has two variants of a BPF object.
package probe

//go:generate go tool bpfgen generate -no-prefix -variant plain -variant counting=-DCOUNTING probe probe.bpf.c
