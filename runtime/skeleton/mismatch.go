package skeleton

import (
	"errors"

	"github.com/rules-bpf/rules_bpf/internal/subskel"
)

// MismatchError is the error of a subskeleton's Open for an object that does not have what
// its library needs. It lists all that is missing or of another type.
type MismatchError struct {
	// Library and Object are their names.
	Library, Object string
	// Mismatches are all that were found, in the order of the library.
	Mismatches []*Mismatch
}

// Mismatch is one symbol of a [MismatchError].
type Mismatch struct {
	// Symbol is the name in C.
	Symbol string
	// Library and Object are what each of them has.
	Library, Object string
	// Remedy is what to do.
	Remedy string
	// File is the name of the library.
	File string
}

// Error returns what is wrong with the symbol, and what to do.
func (m *Mismatch) Error() string { return (*subskel.Mismatch)(m).Error() }

// Error lists the symbols, each on a line of its own.
func (e *MismatchError) Error() string {
	in := subskel.MismatchError{Library: e.Library, Object: e.Object}
	for _, m := range e.Mismatches {
		in.Mismatches = append(in.Mismatches, (*subskel.Mismatch)(m))
	}
	return in.Error()
}

// Unwrap returns the mismatches.
func (e *MismatchError) Unwrap() []error {
	errs := make([]error, len(e.Mismatches))
	for i, m := range e.Mismatches {
		errs[i] = m
	}
	return errs
}

// mismatches makes the error of a check one of this package.
func mismatches(err error) error {
	var in *subskel.MismatchError
	if !errors.As(err, &in) {
		return err
	}
	out := &MismatchError{Library: in.Library, Object: in.Object}
	for _, m := range in.Mismatches {
		out.Mismatches = append(out.Mismatches, (*Mismatch)(m))
	}
	return out
}
