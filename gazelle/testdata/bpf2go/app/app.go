package app

//go:generate go tool bpf2go -tags linux -type event counter counter.c -- -I../headers -Wextra
//go:generate go tool bpf2go -no-global-types -output-stem small -cflags "-O2 -DSMALL=1" small counter.c -- -I../headers

// Load loads both variants.
func Load() error {
	var objects counterObjects
	if err := loadCounterObjects(&objects, nil); err != nil {
		return err
	}
	_ = counterEvent{}
	var small smallObjects
	return loadSmallObjects(&small, nil)
}
