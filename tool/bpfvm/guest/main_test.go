//go:build linux

package main

import (
	"testing"
	"time"
)

func TestTestTimeout(t *testing.T) {
	for left, want := range map[time.Duration]int{
		time.Hour:                3420,
		40 * time.Second:         37,
		10500 * time.Millisecond: 7,
		3 * time.Second:          1,
		-time.Second:             1,
	} {
		if got := testTimeout(left); got != want {
			t.Errorf("%v: %d s, want %d s", left, got, want)
		}
	}
}
