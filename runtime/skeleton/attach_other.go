//go:build !linux

package skeleton

// attachers is empty: no other system runs these programs.
var attachers map[string]attacher
