package skeleton

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// ForKernel returns the variant for the running kernel, for the Open function of a package
// with variants. The keys are versions of Linux from which on a variant is right, as "5.10" or
// "6.1.20", and the variant is the one with the highest version that is not higher than the
// kernel's:
//
//	v, err := skeleton.ForKernel(map[string]probe.Variant{
//		"5.4":  probe.V54,
//		"5.10": probe.V510,
//	})
//
// The kernel's version is what its release begins with (uname -r). Distributions bring parts of
// later kernels into earlier ones: [LoadFirst] goes by what the kernel can do.
//
// As in the kernel's LINUX_VERSION_CODE, a third number above 255 counts as 255: "5.4.290"
// is for all kernels from 5.4.255 on.
//
// It fails when a key is not a version, when two are equal, and when the kernel is older than all
// of them. On systems other than Linux it returns the variant with the highest version.
func ForKernel[V any](variants map[string]V) (V, error) {
	return forKernel(sys.KernelVersion(), variants)
}

func forKernel[V any](kernel uint32, variants map[string]V) (V, error) {
	var zero V
	seen := make(map[uint32]string)
	best, oldest := "", ""
	for key := range variants {
		v, err := parseVersion(key)
		if err != nil {
			return zero, err
		}
		if other, ok := seen[v]; ok {
			return zero, fmt.Errorf("choose a variant: %s and %s are one version: give each variant its own", min(key, other), max(key, other))
		}
		seen[v] = key
		if old, _ := parseVersion(oldest); oldest == "" || v < old {
			oldest = key
		}
		if high, _ := parseVersion(best); v <= kernel && (best == "" || v > high) {
			best = key
		}
	}
	switch {
	case len(variants) == 0:
		return zero, errors.New("choose a variant: the map of variants is empty: give one with the version of Linux that it is for")
	case best == "":
		return zero, fmt.Errorf("choose a variant: the running kernel is Linux %d.%d, and the first with a variant is %s: run a later kernel, or make a variant for this one", kernel>>16, kernel>>8&0xff, oldest)
	}
	return variants[best], nil
}

// parseVersion reads a version in the form of LINUX_VERSION_CODE, where a third number that
// does not fit into its byte is 255, as for stable kernels.
func parseVersion(s string) (uint32, error) {
	parts := strings.Split(s, ".")
	version := uint32(0)
	for i, bits := range []int{8, 8, 16} {
		n := uint64(0)
		if i < len(parts) {
			var err error
			if n, err = strconv.ParseUint(parts[i], 10, bits); err != nil || parts[i][0] == '+' {
				return 0, notVersion(s)
			}
		}
		version = version<<8 | uint32(min(n, 255))
	}
	if len(parts) < 2 || len(parts) > 3 {
		return 0, notVersion(s)
	}
	return version, nil
}

func notVersion(s string) error {
	return fmt.Errorf("choose a variant: %q is not a version of Linux: write it as \"5.10\" or \"6.1.20\"", s)
}

// LoadFirst returns the skeleton of the first variant that the kernel loads. open opens a
// variant and sets what has to be set before Load:
//
//	skel, err := skeleton.LoadFirst(func(v probe.Variant) (*probe.Skeleton, error) {
//		skel, err := probe.Open(v)
//		if err != nil {
//			return nil, err
//		}
//		skel.Rodata.Limit = 5
//		return skel, nil
//	}, probe.V61, probe.V510, probe.V54)
//
// The one that the kernel does not load is closed, and the next is tried: what a kernel can do is
// best known by the kernel. An error of open, and one of Load that has nothing to do with
// what the variant asks for (no permission, no memory), ends the search and is returned. When
// no variant loads, the error has those of all, and *ebpf.VerifierError is reachable through
// errors.As.
func LoadFirst[V any, S interface {
	Load() error
	Close() error
}](open func(V) (S, error), variants ...V) (S, error) {
	var none S
	errs := []error{errors.New("no variant loads")}
	for _, v := range variants {
		skel, err := open(v)
		if err != nil {
			return none, fmt.Errorf("variant %v: %w", v, err)
		}
		if err = skel.Load(); err == nil {
			return skel, nil
		}
		err = fmt.Errorf("variant %v: %w", v, err)
		if closeErr := skel.Close(); closeErr != nil {
			return none, errors.Join(err, closeErr)
		}
		if !isRefusal(err) {
			return none, err
		}
		errs = append(errs, err)
	}
	if len(variants) == 0 {
		errs[0] = errors.New("no variant is given to load: name those to try, the best first")
	}
	return none, errors.Join(errs...)
}

// isRefusal reports whether Load may have failed because of what the object is, and not of
// what this process or the machine is.
func isRefusal(err error) bool {
	var verifier *ebpf.VerifierError
	if errors.As(err, &verifier) {
		return true
	}
	for _, no := range []error{syscall.EPERM, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, ErrClosed, ErrLoaded, ErrNotOpen} {
		if errors.Is(err, no) {
			return false
		}
	}
	return true
}
