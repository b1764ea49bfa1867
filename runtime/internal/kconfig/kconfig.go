// Package kconfig gives the __kconfig variables of an object the values of the running
// kernel's Kconfig options.
//
// An option is a line NAME=value of the kernel's configuration, which is the first that
// exists of /boot/config-RELEASE and /proc/config.gz. Names without CONFIG_ are virtual:
// libbpf defines them, and what they are is found out by asking the kernel. The rules for
// values and types are those of libbpf's set_kcfg_value_*.
package kconfig

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// variable is a __kconfig variable of the object.
type variable image.KconfigVar

// kind is the C type of one.
type kind image.KconfigKind

// Fill sets the variables in data, which is zero, to the options of the running
// kernel, or to those of override, text in the form of its configuration. The rules are
// those of libbpf: what override sets is not looked for elsewhere, every variable that is
// not weak must have an option, and its value must fit.
func Fill(data []byte, vars []image.KconfigVar, override string) error {
	wanted := make(map[string]bool)
	for i := range vars {
		v := (*variable)(&vars[i])
		if strings.HasPrefix(v.Name, "CONFIG_") {
			wanted[v.Name] = true
			continue
		}
		value, err := Virtual(v.Name)
		if errors.Is(err, fs.ErrNotExist) && v.Weak {
			continue
		}
		if err == nil {
			err = v.putNumber(data, value)
		}
		if err != nil {
			return fmt.Errorf("kconfig %s: %w", v.Name, err)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	options, err := lookUp(wanted, override)
	var missing []string
	for i := range vars {
		v := (*variable)(&vars[i])
		if !wanted[v.Name] {
			continue
		}
		text, ok := options[v.Name]
		switch {
		case !ok && v.Weak:
			continue
		case !ok && err != nil:
			return fmt.Errorf("kconfig %s: %w", v.Name, err)
		case !ok:
			missing = append(missing, v.Name)
			continue
		}
		if err := v.put(data, text); err != nil {
			return fmt.Errorf("kconfig %s=%s: %w", v.Name, text, err)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("kconfig: this kernel does not have %s: give a value in LoadOptions.Kconfig, or declare such a variable __weak to read it as 0", strings.Join(missing, ", "))
	}
	return nil
}

// lookUp returns the options that are wanted: those of override, and the kernel's
// own when there are others. With an error, the kernel's are not among them.
func lookUp(wanted map[string]bool, override string) (map[string]string, error) {
	options, err := parse(strings.NewReader(override), wanted)
	if err != nil {
		return nil, fmt.Errorf("LoadOptions.Kconfig: %w", err)
	}
	if len(options) == len(wanted) {
		return options, nil
	}
	kernel, err := kernelOptions(wanted)
	for name, value := range kernel {
		if _, ok := options[name]; !ok {
			options[name] = value
		}
	}
	return options, err
}

// files are where libbpf looks for the kernel's configuration; %s is
// the kernel's release.
var files = []string{"/boot/config-%s", "/proc/config.gz"}

// kernelOptions returns the options of the running kernel that are wanted.
func kernelOptions(wanted map[string]bool) (map[string]string, error) {
	release, err := sys.KernelRelease()
	if err != nil {
		return nil, err
	}
	var tried []string
	for _, path := range files {
		path = strings.Replace(path, "%s", release, 1)
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			tried = append(tried, path)
			continue
		}
		if err != nil {
			return nil, err
		}
		defer f.Close()
		var r io.Reader = f
		if strings.HasSuffix(path, ".gz") {
			if r, err = gzip.NewReader(f); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
		}
		options, err := parse(r, wanted)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return options, nil
	}
	return nil, fmt.Errorf("the kernel's configuration is not in any of %s: %w", strings.Join(tried, ", "), fs.ErrNotExist)
}

// parse returns the wanted options among the lines "NAME=value".
func parse(r io.Reader, wanted map[string]bool) (map[string]string, error) {
	options := make(map[string]string, len(wanted))
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Bytes()
		if !bytes.HasPrefix(line, []byte("CONFIG_")) {
			continue
		}
		name, value, ok := bytes.Cut(line, []byte("="))
		if !ok {
			continue
		}
		// As for libbpf, the first of two counts.
		if _, ok := options[string(name)]; wanted[string(name)] && !ok {
			options[string(name)] = string(value)
		}
	}
	return options, lines.Err()
}

// put sets the variable in data to the value that the configuration gives as text.
func (v *variable) put(data []byte, text string) error {
	switch {
	case text == "y" || text == "n" || text == "m":
		return v.putTristate(data, text[0])
	case strings.HasPrefix(text, `"`):
		return v.putString(data, text)
	default:
		if v.Kind == image.KconfigInt || v.Kind == image.KconfigChar {
			return v.parseNumber(data, text)
		}
		return fmt.Errorf("a number does not fit the variable's type, %s", kind(v.Kind))
	}
}

func (v *variable) putTristate(data []byte, letter byte) error {
	switch {
	case v.Kind == image.KconfigChar:
		return v.putNumber(data, uint64(letter))
	case v.Kind == image.KconfigBool && letter != 'm':
		return v.putNumber(data, map[byte]uint64{'n': 0, 'y': 1}[letter])
	case v.Kind == image.KconfigTristate:
		return v.putNumber(data, map[byte]uint64{'n': 0, 'y': 1, 'm': 2}[letter])
	case v.Kind == image.KconfigBool:
		return errors.New("m does not fit bool: declare the variable as enum libbpf_tristate")
	default:
		return fmt.Errorf("y, n and m do not fit the variable's type, %s: declare it as bool or enum libbpf_tristate", kind(v.Kind))
	}
}

func (v *variable) putString(data []byte, text string) error {
	if v.Kind != image.KconfigString {
		return fmt.Errorf("a text does not fit the variable's type, %s: declare it as an array of char", kind(v.Kind))
	}
	if len(text) < 2 || !strings.HasSuffix(text, `"`) {
		return errors.New("the text has no end")
	}
	field := data[v.Offset : v.Offset+v.Size]
	clear(field)
	copy(field[:len(field)-1], text[1:len(text)-1])
	return nil
}

func (v *variable) parseNumber(data []byte, text string) error {
	if n, err := strconv.ParseInt(text, 0, 64); err == nil && n < 0 {
		if !v.Signed || v.Size < 8 && n < -1<<(v.Size*8-1) {
			return v.doesNotFit()
		}
		return v.putBits(data, uint64(n))
	}
	n, err := strconv.ParseUint(text, 0, 64)
	if err != nil {
		return errors.New("neither a number nor a text nor one of y, n and m")
	}
	return v.putNumber(data, n)
}

func (v *variable) doesNotFit() error {
	return fmt.Errorf("the number does not fit the variable's %d bytes: declare a larger one", v.Size)
}

// putNumber sets the variable to n, which is not negative.
func (v *variable) putNumber(data []byte, n uint64) error {
	limit := uint64(math.MaxUint64)
	if bits := v.Size * 8; bits < 64 {
		limit = 1<<bits - 1
	}
	if v.Kind == image.KconfigInt && v.Signed {
		limit >>= 1
	}
	if v.Kind == image.KconfigBool {
		limit = 1
	}
	if v.Kind == image.KconfigString || n > limit {
		return v.doesNotFit()
	}
	return v.putBits(data, n)
}

func (v *variable) putBits(data []byte, n uint64) error {
	field := data[v.Offset : v.Offset+v.Size]
	switch v.Size {
	case 1:
		field[0] = byte(n)
	case 2:
		binary.NativeEndian.PutUint16(field, uint16(n))
	case 4:
		binary.NativeEndian.PutUint32(field, uint32(n))
	case 8:
		binary.NativeEndian.PutUint64(field, n)
	default:
		return v.doesNotFit()
	}
	return nil
}

func (k kind) String() string {
	switch image.KconfigKind(k) {
	case image.KconfigInt:
		return "an integer"
	case image.KconfigBool:
		return "bool"
	case image.KconfigTristate:
		return "enum libbpf_tristate"
	case image.KconfigChar:
		return "char"
	case image.KconfigString:
		return "an array of char"
	}
	return fmt.Sprintf("KconfigKind(%d)", uint32(k))
}
