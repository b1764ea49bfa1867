//go:build linux

package vmguest

import (
	"testing"
	"time"
)

func TestTestTimeout(t *testing.T) {
	for _, tc := range []struct {
		left, boot time.Duration
		want       int
	}{
		{time.Hour, 3 * time.Second, 3420},
		{40 * time.Second, 3 * time.Second, 37},
		{10500 * time.Millisecond, 3 * time.Second, 7},
		{3 * time.Second, 3 * time.Second, 1},
		{-time.Second, 3 * time.Second, 1},
		// On a busy host.
		{60 * time.Second, 20 * time.Second, 50},
		{20 * time.Second, time.Minute, 10},
	} {
		if got := testTimeout(tc.left, tc.boot); got != tc.want {
			t.Errorf("%+v: %d s", tc, got)
		}
	}
}
