package skeleton

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/cilium/ebpf"

	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// Stdout returns a reader of what the program writes to BPF_STREAM_STDOUT, as with
// bpf_stream_printk. It is as that of Stderr.
func (p *BaseProgram) Stdout() io.Reader { return &stream{p, 1, "stdout"} }

// Stderr returns a reader of what the program writes to BPF_STREAM_STDERR, and the kernel for
// it: accesses of an arena where no page is, deadlocks and timeouts of locks and of may_goto,
// with where they happened.
//
// Read takes what it returns away, from other readers of the program too. It does not wait:
// when nothing is there it returns [io.EOF], and may return more later. The kernel keeps
// 100,000 bytes for each stream, and drops what goes beyond. Read fails with [ErrNotLoaded]
// before Load, with [ErrClosed] after Close, and with [ebpf.ErrNotSupported] before kernel
// 6.17.
func (p *BaseProgram) Stderr() io.Reader { return &stream{p, 2, "stderr"} }

type stream struct {
	prog   *BaseProgram
	number uint32
	name   string
}

func (s *stream) Read(buf []byte) (int, error) {
	if len(buf) == 0 {
		return 0, nil
	}
	prog, err := s.prog.begin()
	if err != nil {
		return 0, err
	}
	defer s.prog.calls.leave()
	n, err := sys.ProgStreamRead(prog.FD(), s.number, buf)
	switch {
	case errors.Is(err, syscall.EINVAL):
		return 0, s.prog.fail(fmt.Errorf("%s: programs have streams since kernel 6.17: %w: %w", s.name, ebpf.ErrNotSupported, err))
	case err != nil:
		return 0, s.prog.fail(fmt.Errorf("%s: %w", s.name, err))
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}
