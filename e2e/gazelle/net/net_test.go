package net

import (
	"testing"
	"time"
)

func TestOpen(t *testing.T) {
	skel, err := Open(time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	if skel.Bss.Dropped != 0 {
		t.Errorf("dropped %d packets before it was loaded", skel.Bss.Dropped)
	}
}
