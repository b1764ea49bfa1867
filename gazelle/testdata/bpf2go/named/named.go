package named

// Load loads the program, whose rule took the place of a line.
func Load() error {
	_, err := loadProg()
	return err
}
