package undo

import (
	"errors"
	"slices"
	"testing"
)

func TestUnwind(t *testing.T) {
	var s Stack
	if err := s.Unwind(); err != nil {
		t.Errorf("of nothing: %v", err)
	}
	var order []int
	errs := []error{nil, errors.New("one"), nil, errors.New("three")}
	for i, err := range errs {
		s.Push(func() error {
			order = append(order, i)
			return err
		})
	}
	err := s.Unwind()
	if want := []int{3, 2, 1, 0}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	if !errors.Is(err, errs[1]) || !errors.Is(err, errs[3]) {
		t.Errorf("error %v has not all of %v", err, errs)
	}
	// Each is run once, and the stack can be used again.
	if err := s.Unwind(); err != nil || len(order) != 4 {
		t.Errorf("again: %v, order %v", err, order)
	}
	s.Push(func() error { return errs[1] })
	if err := s.Unwind(); !errors.Is(err, errs[1]) {
		t.Errorf("after it was used: %v", err)
	}
}

// What is pushed while the stack is unwound is run as well.
func TestPushWhileUnwinding(t *testing.T) {
	var s Stack
	inner := false
	s.Push(func() error {
		s.Push(func() error { inner = true; return nil })
		return nil
	})
	if err := s.Unwind(); err != nil || !inner {
		t.Errorf("%v, %v", err, inner)
	}
}
