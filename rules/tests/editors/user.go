// Package editors is Go code that uses a skeleton, and nothing of the subskeleton in it.
package editors

import "github.com/rules-bpf/rules_bpf/examples/ratelimit/edge"

// Denied returns how often the library said no.
func Denied() (uint64, error) {
	skel, err := edge.Open()
	if err != nil {
		return 0, err
	}
	return skel.Subskeletons.Limiter.Vars.LimiterDenied.Get()
}
