// Package records_test measures reading records: in place, as copies, with cilium/ebpf's
// ReadInto, and with libbpf from C.
//
//	./bazelw run -c opt //tests/bench/records:records_test -- -test.bench=. -test.benchtime=31x
//
// They take turns. A program sends a burst of records, which is then read on the thread whose
// CPU time is counted, so that it does not matter much what else the machine does. Each turn is
// many bursts. What is printed are nanoseconds of CPU time for a record and ratios, of the
// medians and of the minima.
package records_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
	"unsafe"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/perf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/internal/libbpf"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/bench/records/progs/records"
)

const (
	// bursts is how many there are in a turn, and warmUp how many come before, which touch all of
	// the buffer's pages.
	bursts, warmUp = 30, 5
	// perCPUBuffer holds a burst of samples.
	perCPUBuffer = 1 << 20
)

// sum is what is made of records, so that they are read.
var sum uint64

// past is a deadline with which readers do not wait.
var past = time.Unix(1, 0)

// reader is what readers of ring buffers and of perf event arrays have in common.
type reader interface {
	InPlace() iter.Seq2[*records.Event, error]
	All() iter.Seq2[records.Event, error]
	Read() (records.Event, error)
	SetDeadline(time.Time)
	Close() error
}

// kind is a kind of buffer.
type kind struct {
	perf bool
	open func(*records.Skeleton) (reader, error)
	// cilium returns a function that reads a record, and one that closes the reader.
	cilium func(*records.Skeleton) (readInto func() ([]byte, error), close func() error, err error)
	// send sends a burst.
	send func(*records.Skeleton) error
}

var ringBuffer = kind{
	open: func(skel *records.Skeleton) (reader, error) {
		return skeleton.NewRingReader[records.Event](skel.Maps.Events)
	},
	cilium: func(skel *records.Skeleton) (func() ([]byte, error), func() error, error) {
		r, err := ringbuf.NewReader(skel.Maps.Events.Map())
		if err != nil {
			return nil, nil, err
		}
		r.SetDeadline(past)
		var record ringbuf.Record
		return func() ([]byte, error) { err := r.ReadInto(&record); return record.RawSample, err }, r.Close, nil
	},
	send: func(skel *records.Skeleton) error {
		_, err := skel.Progs.SendRecords.Run(&ebpf.RunOptions{Data: make([]byte, 14)})
		return err
	},
}

var perfBuffer = kind{
	perf: true,
	open: func(skel *records.Skeleton) (reader, error) {
		return skeleton.NewPerfReader[records.Event](skel.Maps.Samples, perCPUBuffer)
	},
	cilium: func(skel *records.Skeleton) (func() ([]byte, error), func() error, error) {
		r, err := perf.NewReader(skel.Maps.Samples.Map(), perCPUBuffer)
		if err != nil {
			return nil, nil, err
		}
		r.SetDeadline(past)
		var record perf.Record
		return func() ([]byte, error) { err := r.ReadInto(&record); return record.RawSample, err }, r.Close, nil
	},
	send: func(skel *records.Skeleton) error {
		for range 40 {
			if _, err := skel.Progs.SendSamples.Run(&ebpf.RunOptions{}); err != nil {
				return err
			}
		}
		return nil
	},
}

func BenchmarkRing(b *testing.B) { compare(b, ringBuffer) }

func BenchmarkPerf(b *testing.B) { compare(b, perfBuffer) }

// The ways of reading, in the order of the lines.
var names = []string{"InPlace", "All", "Read", "cilium ReadInto", "libbpf C"}

// compare measures the ways of reading a kind of buffer by turns, and prints a table.
func compare(b *testing.B, k kind) {
	bpftest.NeedsBPF(b)
	reference := openReference(b)
	object, err := runfiles.Rlocation(os.Getenv("RECORDS_OBJECT"))
	if err != nil {
		b.Fatal(err)
	}
	ours := []func(*testing.B, reader) int{inPlace, all, read}
	defer pin(b)()
	spent := make([][]float64, len(names))
	for range b.N {
		for i, f := range ours {
			spent[i] = append(spent[i], k.turn(b, func(skel *records.Skeleton) (func() int, func() error, error) {
				r, err := k.open(skel)
				if err != nil {
					return nil, nil, err
				}
				r.SetDeadline(past)
				return func() int { return f(b, r) }, r.Close, nil
			}))
		}
		spent[3] = append(spent[3], k.turn(b, func(skel *records.Skeleton) (func() int, func() error, error) {
			readInto, closeReader, err := k.cilium(skel)
			return func() int { return count(b, readInto) }, closeReader, err
		}))
		c, err := reference.Records(k.perf, bursts, object)
		if err != nil {
			b.Fatal(err)
		}
		spent[4] = append(spent[4], c)
	}
	b.ReportMetric(0, "ns/op")
	fmt.Printf("libbpf %s at -O2, %s, Linux %s, %d turns\n%s", reference.Version, runtime.Version(), kerneltest.Release(b), b.N, table(spent))
}

// table returns a line for each way: nanoseconds, and the ratios to what it is to be compared
// with.
func table(spent [][]float64) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ns a record\tmedian\tmin\t/libbpf C: median\tmin\t/ReadInto: median\tmin\t")
	for i := range names {
		slices.Sort(spent[i])
	}
	middle := len(spent[0]) / 2
	for i, name := range names {
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t", name, spent[i][middle], spent[i][0])
		for _, other := range []int{4, 3} {
			fmt.Fprintf(w, "%.2f\t%.2f\t", spent[i][middle]/spent[other][middle], spent[i][0]/spent[other][0])
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	return text.String()
}

// turn loads the object, opens a reader with open, and returns the CPU time that reading one
// record takes.
func (k *kind) turn(b *testing.B, open func(*records.Skeleton) (func() int, func() error, error)) float64 {
	b.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	skel, err := records.Open()
	if err != nil {
		b.Fatal(err)
	}
	defer skel.Close()
	if err := skel.Load(); err != nil {
		b.Fatal(err)
	}
	readAll, closeReader, err := open(skel)
	if err != nil {
		b.Fatal(err)
	}
	defer closeReader()
	n, spent := 0, time.Duration(0)
	for i := range warmUp + bursts {
		if err := k.send(skel); err != nil {
			b.Fatal(err)
		}
		start := threadTime()
		read := readAll()
		if i >= warmUp {
			n += read
			spent += threadTime() - start
		}
	}
	if want := int(skel.Bss.Seq) / (warmUp + bursts) * bursts; n != want || skel.Bss.Failed != 0 {
		b.Fatalf("read %d of %d records, and %d were not sent", n, want, skel.Bss.Failed)
	}
	return float64(spent.Nanoseconds()) / float64(n)
}

func inPlace(b *testing.B, r reader) (n int) {
	for e, err := range r.InPlace() {
		if err != nil {
			b.Fatal(err)
		}
		sum += e.Seq
		n++
	}
	return n
}

func all(b *testing.B, r reader) (n int) {
	for e, err := range r.All() {
		if err != nil {
			b.Fatal(err)
		}
		sum += e.Seq
		n++
	}
	return n
}

func read(b *testing.B, r reader) (n int) {
	for {
		e, err := r.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return n
		}
		if err != nil {
			b.Fatal(err)
		}
		sum += e.Seq
		n++
	}
}

// count reads with cilium/ebpf until there is nothing more.
func count(b *testing.B, readInto func() ([]byte, error)) (n int) {
	for {
		sample, err := readInto()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return n
		}
		if err != nil {
			b.Fatal(err)
		}
		sum += binary.NativeEndian.Uint64(sample[8:])
		n++
	}
}

// pin binds the calling goroutine's thread, and the processes that it starts, to the CPU that it is
// on: records are read where they were written. It returns what undoes it.
func pin(b *testing.B) (undo func()) {
	b.Helper()
	runtime.LockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		b.Fatal(err)
	}
	var cpu uint32
	if _, _, errno := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0); errno != 0 {
		b.Fatal(errno)
	}
	one.Set(int(cpu))
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		b.Fatal(err)
	}
	return func() {
		if err := unix.SchedSetaffinity(0, &before); err != nil {
			b.Error(err)
		}
		runtime.UnlockOSThread()
	}
}

// threadTime is the CPU time of the calling thread.
func threadTime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}

func openReference(b *testing.B) *libbpf.Reference {
	b.Helper()
	path, err := runfiles.Rlocation(os.Getenv("LIBBPF_REFERENCE"))
	if err != nil {
		b.Fatal(err)
	}
	reference, err := libbpf.Open(path)
	if errors.Is(err, libbpf.ErrMissing) {
		b.Skip(err)
	}
	if err != nil {
		b.Fatal(err)
	}
	return reference
}
