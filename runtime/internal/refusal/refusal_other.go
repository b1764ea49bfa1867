//go:build !linux

package refusal

import (
	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/internal/privilege"
	"github.com/rules-bpf/rules_bpf/runtime/internal/token"
)

// Why returns nothing.
func Why(error, ...privilege.Cap) string { return "" }

// WhyLoad returns nothing.
func WhyLoad(error, []privilege.Cap, []privilege.Cap, token.Token) string { return "" }

// WhyForbidden returns nothing.
func WhyForbidden([]privilege.Cap, token.Token) string { return "" }

// WhyNoTrampoline returns nothing.
func WhyNoTrampoline(error, ebpf.ProgramType, ebpf.AttachType) string { return "" }

// WhyNoArena returns nothing.
func WhyNoArena(error) string { return "" }

// WhyNoJIT returns nothing.
func WhyNoJIT() string { return "" }

// HasJIT does not know of any lack.
func HasJIT() bool { return true }

// lockdown returns nothing.
func lockdown() string { return "" }
