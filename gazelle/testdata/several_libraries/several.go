// Package several counts the calls of a library.
package several

import (
	"example.com/goldens/several_libraries/libs/left"
	"example.com/goldens/several_libraries/use"
)

// Open opens the object and a library in it.
func Open() error {
	skel, err := use.Open()
	if err != nil {
		return err
	}
	_, err = left.Open(skel)
	return err
}
