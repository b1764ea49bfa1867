package edge_test

import (
	"testing"

	"example.com/goldens/libraries/edge"
	"example.com/goldens/libraries/ratelimit"
)

func TestOpen(t *testing.T) {
	skel, err := edge.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	lib, err := ratelimit.Open(skel)
	if err != nil {
		t.Fatal(err)
	}
	if *lib.Data.Limit != 100 {
		t.Fatalf("the limit is %d, want 100", *lib.Data.Limit)
	}
}
