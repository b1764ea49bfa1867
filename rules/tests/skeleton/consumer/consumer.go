// Package consumer has a skeleton beside its own code.
package consumer

// Answer returns a variable of the skeleton.
func Answer() (int32, error) {
	skel, err := Open()
	if err != nil {
		return 0, err
	}
	defer skel.Close()
	return skel.Data.Answer, nil
}
