package skeleton

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
)

// KconfigKind is the C type of a __kconfig variable, as far as it decides how the
// kernel's configuration is read.
type KconfigKind int

const (
	// KconfigInt is an integer of 1, 2, 4 or 8 bytes.
	KconfigInt KconfigKind = iota + 1
	// KconfigBool is bool: y is true, n is false.
	KconfigBool
	// KconfigTristate is enum libbpf_tristate: n, y and m are 0, 1 and 2.
	KconfigTristate
	// KconfigChar is char: the letter y, n or m itself, or a small number.
	KconfigChar
	// KconfigString is an array of char: a text, cut to the array's length and
	// always ended by a zero.
	KconfigString
)

// KconfigVar describes a __kconfig variable of the object.
type KconfigVar struct {
	// Name is the variable's, and so the name of the setting: CONFIG_HZ, or one
	// of LINUX_KERNEL_VERSION, LINUX_HAS_BPF_COOKIE, LINUX_HAS_SYSCALL_WRAPPER.
	Name string
	// Offset and Size are where it lies in its section, in bytes.
	Offset, Size int
	Kind         KconfigKind
	// Signed is for KconfigInt.
	Signed bool
	// Weak says that a setting that the kernel does not have is zero, and no error.
	Weak bool
}

// Kconfig describes the section called name that holds the values of the
// __kconfig variables vars, laid out as T; its address belongs in *field. Load
// fills it in.
func Kconfig[T any](name string, field **T, vars []KconfigVar) SectionDesc {
	d := Section(name, field)
	d.kconfig = vars
	return d
}

// fillKconfig sets the variables in data to the settings of the running kernel.
// The rules are those of libbpf: every variable that is not weak must have a
// setting, and its value must fit.
func fillKconfig(data []byte, vars []KconfigVar) error {
	wanted := make(map[string]bool)
	for _, v := range vars {
		if strings.HasPrefix(v.Name, "CONFIG_") {
			wanted[v.Name] = true
			continue
		}
		value, err := virtualKconfig(v.Name)
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
	settings, err := kernelConfig(wanted)
	if err != nil {
		// All that depends on it may be optional.
		for _, v := range vars {
			if wanted[v.Name] && !v.Weak {
				return fmt.Errorf("kconfig %s: %w", v.Name, err)
			}
		}
		return nil
	}
	var missing []string
	for _, v := range vars {
		if !wanted[v.Name] {
			continue
		}
		text, ok := settings[v.Name]
		if !ok {
			if !v.Weak {
				missing = append(missing, v.Name)
			}
			continue
		}
		if err := v.put(data, text); err != nil {
			return fmt.Errorf("kconfig %s=%s: %w", v.Name, text, err)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("kconfig: this kernel does not have %s: declare such a variable __weak to read it as 0", strings.Join(missing, ", "))
	}
	return nil
}

// kernelConfigFiles are where libbpf looks for the kernel's configuration; %s is
// the kernel's release.
var kernelConfigFiles = []string{"/boot/config-%s", "/proc/config.gz"}

// kernelConfig returns the settings of the running kernel that are wanted.
func kernelConfig(wanted map[string]bool) (map[string]string, error) {
	release, err := kernelRelease()
	if err != nil {
		return nil, err
	}
	var tried []string
	for _, path := range kernelConfigFiles {
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
		settings, err := parseKernelConfig(r, wanted)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return settings, nil
	}
	return nil, fmt.Errorf("the kernel's configuration is in none of %s: %w", strings.Join(tried, ", "), fs.ErrNotExist)
}

// parseKernelConfig returns the wanted settings among the lines "NAME=value".
func parseKernelConfig(r io.Reader, wanted map[string]bool) (map[string]string, error) {
	settings := make(map[string]string, len(wanted))
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
		if wanted[string(name)] {
			settings[string(name)] = string(value)
		}
	}
	return settings, lines.Err()
}

// put sets the variable in data to the value that the configuration gives as text.
func (v *KconfigVar) put(data []byte, text string) error {
	switch {
	case text == "y" || text == "n" || text == "m":
		return v.putTristate(data, text[0])
	case strings.HasPrefix(text, `"`):
		return v.putString(data, text)
	default:
		if v.Kind == KconfigInt || v.Kind == KconfigChar {
			return v.parseNumber(data, text)
		}
		return fmt.Errorf("a number does not fit the variable's type, %s", v.Kind)
	}
}

func (v *KconfigVar) putTristate(data []byte, letter byte) error {
	switch {
	case v.Kind == KconfigChar:
		return v.putNumber(data, uint64(letter))
	case v.Kind == KconfigBool && letter != 'm':
		return v.putNumber(data, map[byte]uint64{'n': 0, 'y': 1}[letter])
	case v.Kind == KconfigTristate:
		return v.putNumber(data, map[byte]uint64{'n': 0, 'y': 1, 'm': 2}[letter])
	case v.Kind == KconfigBool:
		return errors.New("m does not fit bool: declare the variable as enum libbpf_tristate")
	default:
		return fmt.Errorf("y, n and m do not fit the variable's type, %s: declare it as bool or enum libbpf_tristate", v.Kind)
	}
}

func (v *KconfigVar) putString(data []byte, text string) error {
	if v.Kind != KconfigString {
		return fmt.Errorf("a text does not fit the variable's type, %s: declare it as an array of char", v.Kind)
	}
	if len(text) < 2 || !strings.HasSuffix(text, `"`) {
		return errors.New("the text has no end")
	}
	field := data[v.Offset : v.Offset+v.Size]
	clear(field)
	copy(field[:len(field)-1], text[1:len(text)-1])
	return nil
}

func (v *KconfigVar) parseNumber(data []byte, text string) error {
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

func (v *KconfigVar) doesNotFit() error {
	return fmt.Errorf("the number does not fit the variable's %d bytes: declare a larger one", v.Size)
}

// putNumber sets the variable to n, which is not negative.
func (v *KconfigVar) putNumber(data []byte, n uint64) error {
	limit := uint64(math.MaxUint64)
	if bits := v.Size * 8; bits < 64 {
		limit = 1<<bits - 1
	}
	if v.Kind == KconfigInt && v.Signed {
		limit >>= 1
	}
	if v.Kind == KconfigBool {
		limit = 1
	}
	if v.Kind == KconfigString || n > limit {
		return v.doesNotFit()
	}
	return v.putBits(data, n)
}

func (v *KconfigVar) putBits(data []byte, n uint64) error {
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

func (k KconfigKind) String() string {
	switch k {
	case KconfigInt:
		return "an integer"
	case KconfigBool:
		return "bool"
	case KconfigTristate:
		return "enum libbpf_tristate"
	case KconfigChar:
		return "char"
	case KconfigString:
		return "an array of char"
	}
	return fmt.Sprintf("KconfigKind(%d)", int(k))
}
