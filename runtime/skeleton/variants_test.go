package skeleton

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"syscall"
	"testing"
)

func TestForKernel(t *testing.T) {
	variants := map[string]string{"5.4": "old", "5.10.3": "middle", "6.1": "new"}
	for _, tt := range []struct {
		kernel   uint32
		variants map[string]string
		want     string
		wantErr  string
	}{
		{5<<16 | 4<<8, variants, "old", ""},
		{5<<16 | 10<<8 | 2, variants, "old", ""},
		{5<<16 | 10<<8 | 3, variants, "middle", ""},
		{6<<16 | 18<<8, variants, "new", ""},
		{math.MaxUint32, variants, "new", ""},
		{5<<16 | 3<<8 | 255, variants, "", "the running kernel is Linux 5.3, and the first with a variant is 5.4: run a later kernel"},
		{5<<16 | 4<<8 | 255, map[string]string{"5.4": "old", "5.4.290": "fixed"}, "fixed", ""},
		{5<<16 | 4<<8 | 254, map[string]string{"5.4": "old", "5.4.290": "fixed"}, "old", ""},
		{4<<16 | 15<<8, map[string]string{"4.14.336": "old"}, "old", ""},
		{1, map[string]string{"5.4.290": "", "5.4.300": ""}, "", "5.4.290 and 5.4.300 are one version"},
		{1, map[string]string{"5.4.65536": ""}, "", `"5.4.65536" is not a version`},
		{1, nil, "", "the map of variants is empty"},
		{1, map[string]string{"six": ""}, "", `"six" is not a version of Linux: write it as`},
		{1, map[string]string{"6": ""}, "", `"6" is not a version`},
		{1, map[string]string{"6.1.2.3": ""}, "", `"6.1.2.3" is not a version`},
		{1, map[string]string{"6.+1": ""}, "", `"6.+1" is not a version`},
		{1, map[string]string{"6.256": ""}, "", `"6.256" is not a version`},
		{1, map[string]string{"": ""}, "", `"" is not a version`},
		{1, map[string]string{"6.1": "", "6.1.0": ""}, "", "6.1 and 6.1.0 are one version"},
	} {
		got, err := forKernel(tt.kernel, tt.variants)
		switch {
		case tt.wantErr == "" && (err != nil || got != tt.want):
			t.Errorf("%#x: got %q, %v, want %q", tt.kernel, got, err, tt.want)
		case tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)):
			t.Errorf("%#x of %v: got %v, want %s", tt.kernel, tt.variants, err, tt.wantErr)
		}
	}
	if _, err := ForKernel(map[string]int{"2.6": 1}); err != nil {
		t.Error(err)
	}
}

// variant is a skeleton that loads or not.
type variant struct {
	err    error
	closed bool
}

func (v *variant) Load() error  { return v.err }
func (v *variant) Close() error { v.closed = true; return nil }

func TestLoadFirst(t *testing.T) {
	refused := errors.New("the kernel knows no such map")
	denied := fmt.Errorf("create map: %w", syscall.EPERM)
	notOpened := errors.New("the object is damaged")
	for _, tt := range []struct {
		name string
		// load are the errors of Load, and notOpened that of Open.
		load    []error
		want    int
		wantErr []string
	}{
		{"first", []error{nil, refused}, 0, nil},
		{"second", []error{refused, nil}, 1, nil},
		{"none", []error{refused, refused}, -1, []string{"no variant loads", "variant 0: " + refused.Error(), "variant 1: " + refused.Error()}},
		{"no permission", []error{denied, nil}, -1, []string{"variant 0: create map: operation not permitted"}},
		{"not opened", []error{refused, notOpened, nil}, -1, []string{"variant 1: the object is damaged"}},
		{"nothing to try", nil, -1, []string{"no variant is given to load"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var opened []*variant
			var all []int
			for i := range tt.load {
				all = append(all, i)
			}
			skel, err := LoadFirst(func(i int) (*variant, error) {
				if tt.load[i] == notOpened {
					return nil, notOpened
				}
				v := &variant{err: tt.load[i]}
				opened = append(opened, v)
				return v, nil
			}, all...)
			for i, v := range opened {
				if v.closed != (i != tt.want) {
					t.Errorf("variant %d: closed is %v", i, v.closed)
				}
			}
			if tt.want >= 0 {
				if err != nil || skel != opened[tt.want] {
					t.Errorf("got %v, %v", skel, err)
				}
				return
			}
			for _, want := range tt.wantErr {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %s", err, want)
				}
			}
		})
	}
}
