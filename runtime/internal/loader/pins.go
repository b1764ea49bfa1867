package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// pin is a map that is to be pinned.
type pin struct {
	m    *Map
	path string
}

// madePin is a pin that a Load has made, and the ID of the map there.
type madePin struct {
	path string
	id   uint32
}

// defaultPinRoot is where libbpf pins maps that are declared with LIBBPF_PIN_BY_NAME.
const defaultPinRoot = "/sys/fs/bpf"

// errPinTaken reports that another process has pinned a map at the path while this load was
// creating its own. The next one takes that.
var errPinTaken = errors.New("another map was pinned there meanwhile")

// mostPinRaces is how often a Load starts over because of errPinTaken. A process that wins more
// often must be removing and making the pin all the time.
const mostPinRaces = 10

// pinPath returns where the map is pinned, empty when it is not to be.
func (l *load) pinPath(m *Map) string {
	switch {
	case m.PinPath != "":
		return m.PinPath
	case !m.PinByName:
		return ""
	case l.opts.PinRoot != "":
		return filepath.Join(l.opts.PinRoot, m.Name)
	}
	return filepath.Join(defaultPinRoot, m.Name)
}

// takePinned takes the map that is pinned at the path. It reports false where there is none
// yet, and one can be pinned.
func (l *load) takePinned(m *Map, path string) (bool, error) {
	fd, err := sys.ObjGet(path, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, checkPinDirectory(filepath.Dir(path))
	}
	if err == nil {
		if err = checkIsMap(fd); err != nil {
			sys.Close(fd)
		} else if err = l.checkTypes(m, fd); err != nil {
			sys.Close(fd)
		} else {
			err = l.takeFD(m, fd)
		}
	}
	if err != nil {
		err = fmt.Errorf("use what is pinned at %s: %w", path, err)
		if m.SameTypes && errors.Is(err, ebpf.ErrMapIncompatible) {
			err = fmt.Errorf("%w: remove the pin to start over, or call SetPinning(ebpf.PinNone) or SetPinPath for a map that this version has for itself", err)
		}
		return false, err
	}
	return true, nil
}

// pinMaps pins the maps that are pinned by name or by path, which is the last that may fail:
// what is pinned works.
func (l *load) pinMaps() error {
	for _, p := range l.toPin {
		err := l.pin(p)
		if errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("%w: %w", errPinTaken, err)
		}
		if err != nil {
			return &MapError{Map: p.m, Err: fmt.Errorf("pin it at %s: %w", p.path, err)}
		}
	}
	return nil
}

func (l *load) pin(p pin) error {
	fd := p.m.Map.FD()
	var info sys.MapInfo
	if err := sys.GetInfoByFD(fd, &info); err != nil {
		return err
	}
	if err := sys.ObjPin(fd, p.path); err != nil {
		return err
	}
	*l.pins = append(*l.pins, madePin{p.path, info.ID})
	return nil
}

// removePins removes what a Load has pinned before it failed, unless another
// map is there by now.
func removePins(pins []madePin) error {
	var errs []error
	for _, p := range pins {
		fd, err := sys.ObjGet(p.path, 0)
		if err == nil {
			var info sys.MapInfo
			err = sys.GetInfoByFD(fd, &info)
			sys.Close(fd)
			if err == nil && info.ID == p.id {
				err = os.Remove(p.path)
			}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove the pin at %s: %w", p.path, err))
		}
	}
	return errors.Join(errs...)
}
