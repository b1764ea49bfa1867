package attach

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// choice is one of several ways to say the same.
type choice struct {
	used bool
	name string
}

// oneOf returns an error unless exactly one of the choices is used.
func oneOf(choices ...choice) error {
	var used, all []string
	for _, c := range choices {
		all = append(all, c.name)
		if c.used {
			used = append(used, c.name)
		}
	}
	switch len(used) {
	case 0:
		return fmt.Errorf("no function is named: give %s", strings.Join(all, " or "))
	case 1:
		return nil
	}
	return fmt.Errorf("%s exclude each other", strings.Join(used, " and "))
}

// unordered returns an error when an option that has a value for each function is used with
// a pattern.
func unordered(pattern string, options ...choice) error {
	for _, o := range options {
		if o.used && pattern != "" {
			return fmt.Errorf("%s: which functions a pattern matches has no order: name the functions one by one", o.name)
		}
	}
	return nil
}

// cookies returns those of n functions, nil when they have none.
func cookies(n int, one uint64, each []uint64) ([]uint64, error) {
	switch {
	case len(each) > 0 && one != 0:
		return nil, errors.New("options Cookie and Cookies exclude each other")
	case len(each) > 0:
		return each, oneEach("Cookies", n, len(each))
	case one != 0:
		return slices.Repeat([]uint64{one}, n), nil
	}
	return nil, nil
}

// oneEach returns an error when an option has some values, and not one for each of n
// functions.
func oneEach(option string, n, have int) error {
	if have == 0 || have == n {
		return nil
	}
	return fmt.Errorf("option %s has %d values, and there are %d functions", option, have, n)
}
