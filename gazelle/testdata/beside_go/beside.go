// Package beside has C beside its Go.
package beside

import "example.com/goldens/beside_go/beside"

// Open opens the object.
func Open() error {
	_, err := beside.Open()
	return err
}
