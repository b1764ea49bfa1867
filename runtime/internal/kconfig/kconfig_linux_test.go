package kconfig

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/features"

	"github.com/rules-bpf/rules_bpf/internal/image"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

func TestValues(t *testing.T) {
	integer := func(size uint32, signed bool) image.KconfigVar {
		return image.KconfigVar{Kind: image.KconfigInt, Size: size, Signed: signed}
	}
	of := func(k image.KconfigKind, size uint32) image.KconfigVar { return image.KconfigVar{Kind: k, Size: size} }
	for _, tc := range []struct {
		v    image.KconfigVar
		text string
		want []byte // numbers have the lowest byte first
		err  string
	}{
		{integer(4, false), "250", []byte{250, 0, 0, 0}, ""},
		{integer(8, false), "0xffffffffffffffff", bytes.Repeat([]byte{0xff}, 8), ""},
		{integer(4, true), "-2", []byte{0xfe, 0xff, 0xff, 0xff}, ""},
		{integer(8, true), "-9223372036854775808", []byte{0, 0, 0, 0, 0, 0, 0, 0x80}, ""},
		{integer(2, false), "0x1234", []byte{0x34, 0x12}, ""},
		{integer(1, false), "255", []byte{255}, ""},
		{integer(1, false), "256", nil, "does not fit"},
		{integer(1, true), "128", nil, "does not fit"},
		{integer(1, true), "-128", []byte{0x80}, ""},
		{integer(1, true), "-129", nil, "does not fit"},
		{integer(4, false), "-1", nil, "does not fit"},
		{integer(4, false), "0x100000000", nil, "does not fit"},
		{integer(8, false), "0x10000000000000000", nil, "neither a number"},
		{integer(4, false), "y", nil, "declare it as bool"},
		{integer(4, false), "", nil, "neither a number"},
		{integer(4, false), `"text"`, nil, "array of char"},
		{of(image.KconfigBool, 1), "y", []byte{1}, ""},
		{of(image.KconfigBool, 1), "n", []byte{0}, ""},
		{of(image.KconfigBool, 1), "m", nil, "enum libbpf_tristate"},
		{of(image.KconfigBool, 1), "1", nil, "does not fit"},
		{of(image.KconfigTristate, 4), "n", []byte{0, 0, 0, 0}, ""},
		{of(image.KconfigTristate, 4), "y", []byte{1, 0, 0, 0}, ""},
		{of(image.KconfigTristate, 4), "m", []byte{2, 0, 0, 0}, ""},
		{of(image.KconfigChar, 1), "m", []byte{'m'}, ""},
		{of(image.KconfigChar, 1), "7", []byte{7}, ""},
		{of(image.KconfigString, 8), `"abc"`, []byte{'a', 'b', 'c', 0, 0, 0, 0, 0}, ""},
		{of(image.KconfigString, 4), `"abcdef"`, []byte{'a', 'b', 'c', 0}, ""},
		{of(image.KconfigString, 4), `""`, []byte{0, 0, 0, 0}, ""},
		{of(image.KconfigString, 4), `"`, nil, "no end"},
		{of(image.KconfigString, 4), "5", nil, "does not fit"},
		{of(image.KconfigString, 4), "y", nil, "y, n and m do not fit"},
	} {
		if isBigEndian && tc.v.Kind != image.KconfigString {
			slices.Reverse(tc.want)
		}
		data := bytes.Repeat([]byte{0xaa}, int(tc.v.Size)+2)
		tc.v.Offset = 1
		err := (*variable)(&tc.v).put(data, tc.text)
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s into %s of %d bytes: error %v, want one with %q", tc.text, kind(tc.v.Kind), tc.v.Size, err, tc.err)
			}
			continue
		}
		if err != nil || !bytes.Equal(data[1:len(data)-1], tc.want) || data[0] != 0xaa || data[len(data)-1] != 0xaa {
			t.Errorf("%s into %s of %d bytes: %x, %v; want %x", tc.text, kind(tc.v.Kind), tc.v.Size, data, err, tc.want)
		}
	}
}

// isBigEndian says that numbers of this machine have the highest byte first.
var isBigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

func TestFillKconfig(t *testing.T) {
	dir := t.TempDir()
	plain, zipped := filepath.Join(dir, "config-%s"), filepath.Join(dir, "config.gz")
	saved := files
	files = []string{plain, zipped}
	t.Cleanup(func() { files = saved })

	vars := []image.KconfigVar{
		{Name: "CONFIG_HZ", Offset: 0, Size: 4, Kind: image.KconfigInt},
		{Name: "LINUX_KERNEL_VERSION", Offset: 4, Size: 4, Kind: image.KconfigInt},
		{Name: "CONFIG_ABSENT", Offset: 8, Size: 4, Kind: image.KconfigInt, Weak: true},
		{Name: "LINUX_ABSENT", Offset: 12, Size: 4, Kind: image.KconfigInt, Weak: true},
	}
	if err := Fill(make([]byte, 16), vars, ""); err == nil || !strings.Contains(err.Error(), "CONFIG_HZ") || !strings.Contains(err.Error(), zipped) {
		t.Errorf("no configuration anywhere: %v", err)
	}
	if err := Fill(make([]byte, 16), vars[1:], ""); err != nil {
		t.Errorf("no configuration, and all that need one are weak: %v", err)
	}

	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte("# comment\nCONFIG_HZ=250\nCONFIG_HZ_250=y\n# CONFIG_ABSENT is not set\n")); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := os.WriteFile(zipped, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 16)
	value := func(offset int) uint32 { return binary.NativeEndian.Uint32(data[offset:]) }
	if err := Fill(data, vars, ""); err != nil {
		t.Fatal(err)
	}
	version, err := features.LinuxVersionCode()
	if err != nil {
		t.Fatal(err)
	}
	if value(0) != 250 || value(4) != version || !bytes.Equal(data[8:], make([]byte, 8)) {
		t.Errorf("values %v", data)
	}

	release, err := sys.KernelRelease()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config-"+release), []byte("CONFIG_HZ=1000\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := Fill(data, vars, ""); err != nil || value(0) != 1000 {
		t.Errorf("the file for the release comes first: %v, %v", data, err)
	}

	for _, v := range []image.KconfigVar{
		{Name: "CONFIG_ABSENT", Size: 4, Kind: image.KconfigInt},
		{Name: "LINUX_ABSENT", Size: 4, Kind: image.KconfigInt},
	} {
		if err := Fill(data, []image.KconfigVar{v}, ""); err == nil || !strings.Contains(err.Error(), v.Name) {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
	// What is given counts, and the rest is the kernel's.
	override := "CONFIG_HZ=300\nCONFIG_HZ=1\n# CONFIG_OTHER is not set\nCONFIG_ABSENT=5\n"
	clear(data)
	if err := Fill(data, vars, override); err != nil || value(0) != 300 || value(8) != 5 {
		t.Errorf("with values that are given: %v, %v", data, err)
	}
	files = nil
	clear(data)
	if err := Fill(data, vars, override); err != nil || value(0) != 300 {
		t.Errorf("all values are given, and the kernel has no configuration: %v, %v", data, err)
	}
	if err := Fill(data, vars, "CONFIG_ABSENT=5"); err == nil || !strings.Contains(err.Error(), "CONFIG_HZ") {
		t.Errorf("one value is given, and the kernel has no configuration: %v", err)
	}
	if err := Fill(data, vars, "CONFIG_HZ=much"); err == nil || !strings.Contains(err.Error(), "kconfig CONFIG_HZ=much: ") {
		t.Errorf("a value that does not fit: %v", err)
	}
	for _, name := range []string{"LINUX_HAS_BPF_COOKIE", "LINUX_HAS_SYSCALL_WRAPPER"} {
		if err := Fill(data, []image.KconfigVar{{Name: name, Size: 1, Kind: image.KconfigBool}}, ""); err != nil || data[0] > 1 {
			t.Errorf("%s: %d, %v", name, data[0], err)
		}
	}
}
