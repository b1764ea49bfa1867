// Package net opens the edge program with its limit set.
package net

import (
	"time"

	"example.com/from_sources/net/edge"
	"example.com/from_sources/net/ratelimit"
)

// Open opens the program, which lets one packet through in each interval.
func Open(interval time.Duration) (*edge.Skeleton, error) {
	skel, err := edge.Open()
	if err != nil {
		return nil, err
	}
	lib, err := ratelimit.Open(skel)
	if err != nil {
		skel.Close()
		return nil, err
	}
	*lib.Data.IntervalNs = uint64(interval)
	return skel, nil
}
