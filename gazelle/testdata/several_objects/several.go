// Package several uses both packages of one directory.
package several

import (
	"example.com/goldens/several_objects/progs/in"
	"example.com/goldens/several_objects/progs/out"
)

// Open opens both objects.
func Open() error {
	if _, err := in.Open(); err != nil {
		return err
	}
	_, err := out.Open()
	return err
}
