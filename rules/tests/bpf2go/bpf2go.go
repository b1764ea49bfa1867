// Package bpf2go is code as it stands beside what the command bpf2go generates.
package bpf2go

import "github.com/cilium/ebpf"

// Small and Large return the objects of two variants of one source.
func Small() (*ebpf.CollectionSpec, error) { return loadSmall() }

func Large() (*ebpf.CollectionSpec, error) { return LoadLarge() }

// All names that are declared, for the compiler to look at.
var (
	_ = smallObjects{smallPrograms{}, smallMaps{}, smallVariables{}}
	_ = smallSpecs{smallProgramSpecs{}, smallMapSpecs{}, smallVariableSpecs{}}
	_ = loadSmallObjects
	_ = smallStats{Packets: 1, Port: 2}
	_ = smallEvent{Pid: 1}
	_ = LargeObjects{}
	_ = LoadLargeObjects
)

// Declared here, as the variant asks for no types.
type LargeStats struct{}
