//go:build !linux

package skeleton

// mapOver always fails: only Linux maps the memory of BPF maps.
func (r *region) mapOver(int, bool) error { return errNotMappable }

// release does nothing, because mapOver never succeeds.
func (r *region) release() error { return nil }
