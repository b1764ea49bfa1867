// Package vmproto is what the two halves of bpfvm agree on: the runner on the
// host, and the guest, which is the first process of the kernel under test.
//
// The runner puts a Run into the file system that the kernel starts with, and
// the guest answers with frames on a serial port that is not the console's.
package vmproto

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Where the guest finds its files.
const (
	// RunFile is a Run as JSON.
	RunFile = "/.bpfvm/run.json"
	// ModulesFile has the path of a kernel module per line, in the order in
	// which they load. It may be missing.
	ModulesFile = "/.bpfvm/modules"
	// ConfigFile is the configuration of the kernel. It may be missing. The
	// guest moves it to where programs look for the running kernel's.
	ConfigFile = "/.bpfvm/config"
)

// A Run is what the guest is to do.
type Run struct {
	// Port is the guest's name of the serial port that the frames go through.
	Port string
	// Args has the program's path, and its arguments.
	Args []string
	Env  []string
	// Dir is the directory that the program starts in.
	Dir string
	// Dirs are directories to create.
	Dirs []string
	// Results are files and directories that the runner wants to have, as far as
	// they exist when the program has ended.
	Results []string
	// Started is when the runner started.
	Started time.Time
	// Deadline, when not zero, is when the test's time is up: the guest sets
	// TEST_TIMEOUT so that the test ends itself before that. It is a time and no
	// duration: the guest starts with the host's clock, and so knows how long the
	// firmware and the kernel took to start, before which it has no clock.
	Deadline time.Time
}

// Kind is what a frame is.
type Kind byte

// The kinds of frames.
const (
	// Started is the first frame: the kernel runs, and the guest with it.
	Started Kind = 's'
	// Stdout and Stderr are a piece of the program's output.
	Stdout Kind = 'o'
	Stderr Kind = 'e'
	// File begins a file of Run.Results, of which the frame has the path.
	File Kind = 'f'
	// Append is a piece of the file that began last.
	Append Kind = 'a'
	// Failed is the last frame when the guest could not run the program; it has
	// the reason.
	Failed Kind = 'x'
	// Exited is the last frame otherwise: it has the exit status in decimal,
	// which is 128 and the signal's number when a signal ended the program.
	Exited Kind = 'z'
)

// maxFrame is the size of the largest frame that is sent, and taken.
const maxFrame = 64 << 10

// magic begins every frame, so that something else on the line is noticed.
const magic = 0xb7

// A Writer writes frames. Several goroutines may use it.
type Writer struct {
	mu sync.Mutex
	w  io.Writer
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Send writes data as frames of the kind: one, or several when it is large.
func (w *Writer) Send(kind Kind, data []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		n := min(len(data), maxFrame)
		frame := binary.BigEndian.AppendUint32([]byte{magic, byte(kind)}, uint32(n))
		if _, err := w.w.Write(append(frame, data[:n]...)); err != nil {
			return err
		}
		if data = data[n:]; len(data) == 0 {
			return nil
		}
	}
}

// As returns an io.Writer whose data becomes frames of the kind.
func (w *Writer) As(kind Kind) io.Writer { return sender{w, kind} }

type sender struct {
	w    *Writer
	kind Kind
}

func (s sender) Write(p []byte) (int, error) {
	if err := s.w.Send(s.kind, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// ErrNoFrame is returned by Receive for bytes that are not a frame.
var ErrNoFrame = errors.New("the serial port of the test has something else on it")

// Receive reads one frame. It returns io.EOF at the end of r, and
// io.ErrUnexpectedEOF when that is inside of a frame.
func Receive(r io.Reader) (Kind, []byte, error) {
	var head [6]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[2:])
	if head[0] != magic || size > maxFrame || !bytes.ContainsRune([]byte("soefaxz"), rune(head[1])) {
		return 0, nil, fmt.Errorf("%w: % x", ErrNoFrame, head)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return Kind(head[1]), data, nil
}

// Encode returns the content of RunFile.
func (r *Run) Encode() ([]byte, error) { return json.Marshal(r) }

// Decode reads the content of RunFile.
func Decode(data []byte) (*Run, error) {
	var r Run
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", RunFile, err)
	}
	return &r, nil
}
