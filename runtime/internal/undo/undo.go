// Package undo takes back what a sequence of steps has done when one of them fails.
//
// Each step that has made something pushes a function that undoes it. A failure unwinds the
// stack: the last function runs first, as later steps build on earlier ones, and all run even
// when one fails.
package undo

import "errors"

// Stack has the functions that undo what was done. The zero value is empty. It is not for
// several goroutines at once.
type Stack struct{ steps []func() error }

// Push adds a function that undoes what was just done.
func (s *Stack) Push(step func() error) { s.steps = append(s.steps, step) }

// Len returns how many steps were pushed.
func (s *Stack) Len() int { return len(s.steps) }

// Unwind runs all that was pushed, the last first, and empties the stack. It returns the
// errors of all, joined.
func (s *Stack) Unwind() error { return s.UnwindTo(0) }

// UnwindTo is Unwind for what was pushed when the stack had n steps already.
func (s *Stack) UnwindTo(n int) error {
	var errs []error
	for len(s.steps) > n {
		last := len(s.steps) - 1
		step := s.steps[last]
		s.steps = s.steps[:last]
		errs = append(errs, step())
	}
	return errors.Join(errs...)
}
