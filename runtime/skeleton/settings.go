package skeleton

import (
	"errors"
	"fmt"
	"slices"
)

// Settings are what the handles of maps and programs have methods Set... for: they change
// the definitions that Load makes things of. All go through this file.

// refusedSetting is a setting that could not be made.
type refusedSetting struct {
	setting string
	err     error
}

// set makes a setting, which has a name like "max entries of map events", by calling change.
// It fails with [ErrLoaded] after Prepare or Load and with [ErrClosed] after Close. Before, the
// object keeps the error until the same setting is made: one that the caller ignores is
// returned by Load.
func (o *object) set(setting string, change func() error) error {
	return o.setUntil(prepared, setting, change)
}

// setUntil is set for a setting that counts until the object is in the state end.
func (o *object) setUntil(end state, setting string, change func() error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	fail := func(err error) error { return fmt.Errorf("set %s: %w", setting, err) }
	switch {
	case o.state == closed:
		return fail(ErrClosed)
	case o.state == prepared && end == prepared:
		return fail(fmt.Errorf("%w by Prepare, in part: call it before Prepare", ErrLoaded))
	case o.state >= end:
		return fail(fmt.Errorf("%w: call it before Load", ErrLoaded))
	}
	o.refused = slices.DeleteFunc(o.refused, func(r refusedSetting) bool { return r.setting == setting })
	if err := change(); err != nil {
		err = fail(err)
		o.refused = append(o.refused, refusedSetting{setting, err})
		return err
	}
	return nil
}

// refusals returns the settings that could not be made.
func (o *object) refusals() error {
	var errs []error
	for _, r := range o.refused {
		errs = append(errs, r.err)
	}
	return errors.Join(errs...)
}
