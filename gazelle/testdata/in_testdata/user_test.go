package user

import (
	"testing"

	"example.com/goldens/in_testdata/testdata"
)

func TestOpen(t *testing.T) {
	skel, err := testdata.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := skel.Close(); err != nil {
		t.Fatal(err)
	}
}
