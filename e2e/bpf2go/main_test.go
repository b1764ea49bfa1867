package main

import "testing"

func TestLimit(t *testing.T) {
	n, err := limit()
	if err != nil {
		t.Fatal(err)
	}
	if n != 1000 {
		t.Errorf("the limit is %d, want 1000", n)
	}
}
