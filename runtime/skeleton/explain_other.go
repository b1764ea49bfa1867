//go:build !linux

package skeleton

import "github.com/cilium/ebpf"

// No other system has these, and says so.

func programCaps(ebpf.ProgramType) []int { return nil }

func mapCaps(ebpf.MapType) []int { return nil }

func isLack(error) bool { return false }

func (o *Object) whyRefused(error, []int) string { return "" }

func whyNoJIT() string { return "" }

func (o *Object) explainRest(err error) error { return err }

func (p *BaseProgram) explainAttach(err error) error { return err }
