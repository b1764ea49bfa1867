// Package features finds out what the running kernel can do, by trying.
//
// The result of a test of the kernel is cached for as long as the process lives. A result
// that is about the process is not: one that has no right to try today, or no descriptor
// left, may have it tomorrow.
package features

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// Feature is something that not all kernels have.
type Feature int

// The features, with the version of Linux that brought them.
const (
	// BTF is types of objects at all: 4.18.
	BTF Feature = iota
	// Func is types of functions: 5.0.
	Func
	// DataSec is variables and their sections: 5.2.
	DataSec
	// EmptyDataSec is sections without variables, which clang makes of texts alone: 5.12.
	EmptyDataSec
	// GlobalFunc is functions that are verified on their own: 5.6.
	GlobalFunc
	// Float is floating point types: 5.13.
	Float
	// DeclTag is tags of declarations: 5.16.
	DeclTag
	// TypeTag is tags of types: 5.17.
	TypeTag
	// Enum64 is enumerations of 64 bits, and signed ones: 6.0.
	Enum64
	// QuestionMark is sections whose names begin with "?": 6.9.
	QuestionMark
	// Mmapable is arrays that can be mapped: 5.5.
	Mmapable
	// ArgCtx is the tag "arg:ctx" of a parameter: 6.8.
	ArgCtx
	// ProbeReadKernel is helpers that read the kernel's memory and others that read that of
	// processes, where there was one for both: 5.5.
	ProbeReadKernel
	count
)

var names = [count]string{
	"BTF", "BTF of functions", "BTF of variables", "BTF of sections without variables", "BTF of global functions", "BTF of floating point types",
	"BTF of declarations' tags", "BTF of types' tags", "BTF of 64-bit enumerations", `sections whose names begin with "?"`,
	"arrays that can be mapped", "the tag arg:ctx", "bpf_probe_read_kernel",
}

func (f Feature) String() string { return names[f] }

// probe caches the result of a test of the kernel.
type probe struct {
	mu         sync.Mutex
	known, yes bool
}

var probes [count]probe

// Has reports whether the kernel has the feature. It fails when that cannot be found out
// now, with the kernel's answer.
func Has(f Feature) (bool, error) {
	yes, err := probes[f].ask(tries[f])
	if err != nil {
		err = fmt.Errorf("find out whether the kernel has %v: %w", f, err)
	}
	return yes, err
}

// ask returns what is remembered, or tries. try returns the kernel's answer.
func (p *probe) ask(try func() error) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known {
		return p.yes, nil
	}
	err := try()
	if IsLack(err) || IsForbidden(err) {
		return false, err
	}
	p.known, p.yes = true, err == nil
	return p.yes, nil
}

// IsLack reports whether the kernel has answered that the process or the machine has run
// out of something.
func IsLack(err error) bool { return is(err, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM) }

// IsForbidden reports whether the kernel has answered that the process may not do it.
func IsForbidden(err error) bool {
	// ENOSYS is the answer of filters in containers.
	return is(err, syscall.EPERM, syscall.EACCES, syscall.ENOSYS)
}

func is(err error, any ...syscall.Errno) bool {
	for _, e := range any {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// closed closes what a try has made.
func closed(fd int, err error) error {
	if err != nil {
		return err
	}
	return sys.Close(fd)
}

func tryMmapable() error {
	return closed(sys.MapCreate(&sys.MapCreateAttr{Type: sys.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1, Flags: sys.Mmapable}))
}
