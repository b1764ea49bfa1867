package skeleton

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// sent is what test programs send: 32 bytes, of which Seq counts.
type sent struct {
	Seq  uint64
	Fill [2]uint64
}

// tailed is what the 8 bytes behind it hold.
const tailed = 8

// sender is a program that sends one record to its map, and counts: the records that it has
// tried to send, and those that were not taken.
func sender(name, to, counts string, fn asm.BuiltinFunc, flags int32) *ebpf.ProgramSpec {
	insns := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.StoreImm(asm.RFP, -40, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, 0).WithReference(counts),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -40),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "end"),
		asm.Mov.Reg(asm.R7, asm.R0),
		asm.LoadMem(asm.R1, asm.R7, 0, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R7, 0, asm.R1, asm.DWord),
	}
	// The number, its complement twice, and once more behind.
	insns = append(insns, asm.StoreMem(asm.RFP, -32, asm.R1, asm.DWord), asm.Xor.Imm(asm.R1, -1))
	for _, at := range []int16{-24, -16, -8} {
		insns = append(insns, asm.StoreMem(asm.RFP, at, asm.R1, asm.DWord))
	}
	if fn == asm.FnPerfEventOutput {
		insns = append(insns,
			asm.Mov.Reg(asm.R1, asm.R6),
			asm.LoadMapPtr(asm.R2, 0).WithReference(to),
			asm.LoadImm(asm.R3, 0xffffffff, asm.DWord), // BPF_F_CURRENT_CPU
			asm.Mov.Reg(asm.R4, asm.RFP),
			asm.Add.Imm(asm.R4, -32),
			asm.Mov.Imm(asm.R5, 32),
		)
	} else {
		insns = append(insns,
			asm.LoadMapPtr(asm.R1, 0).WithReference(to),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -32),
			asm.Mov.Imm(asm.R3, 32),
			asm.Mov.Imm(asm.R4, flags),
		)
	}
	insns = append(insns,
		fn.Call(),
		asm.JEq.Imm(asm.R0, 0, "end"),
		asm.LoadMem(asm.R1, asm.R7, 8, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R7, 8, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("end"),
		asm.Return(),
	)
	return newTestProgram(name, insns...)
}

// channel is a map with a sender.
type channel struct {
	o      *Object
	events *UntypedMap
	send   *BaseProgram
	counts *ebpf.Map
}

// newChannel loads a ring buffer or a perf event array with its sender.
func newChannel(t testing.TB, typ ebpf.MapType, size uint32, flags int32) channel {
	t.Helper()
	fn := asm.FnRingbufOutput
	events := &ebpf.MapSpec{Name: "events", Type: typ, MaxEntries: size}
	if typ == ebpf.PerfEventArray {
		fn = asm.FnPerfEventOutput
		cpus, err := ebpf.PossibleCPU()
		if err != nil {
			t.Fatal(err)
		}
		events.KeySize, events.ValueSize, events.MaxEntries = 4, 4, uint32(cpus)
	}
	bpftest.NeedsBPF(t)
	o := openTestObject(t, []*ebpf.MapSpec{events, {Name: "counts", Type: ebpf.Array, KeySize: 4, ValueSize: 16, MaxEntries: 1}},
		sender("send", "events", "counts", fn, flags))
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := o.Load(); err != nil {
		t.Fatal(err)
	}
	return channel{o, o.maps[0], o.progs[0], o.maps[1].Map()}
}

func (c *channel) ring() *RingBuffer { return (*RingBuffer)(unsafe.Pointer(c.events)) }

func (c *channel) perf() *PerfEventArray { return (*PerfEventArray)(unsafe.Pointer(c.events)) }

// run sends so many records, all on one CPU: those of several perf buffers have no order. Of a
// run with many repetitions, which a signal may interrupt and which then is made again, they
// may be more.
func (c *channel) run(t testing.TB, n uint32) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Error(err)
		return
	}
	for cpu := range 8 * len(all) * 8 {
		if all.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = unix.SchedSetaffinity(0, &all) }()
	runs, repeat := uint32(1), n
	if n < 100 {
		runs, repeat = n, 1
	}
	for range runs {
		if _, err := c.send.Run(&ebpf.RunOptions{Data: make([]byte, 64), Repeat: repeat}); err != nil {
			t.Error(err)
		}
	}
}

// counted returns how many records were sent, and how many of them were not taken.
func (c *channel) counted(t testing.TB) (tried, refused uint64) {
	t.Helper()
	var counts [2]uint64
	if err := c.counts.Lookup(uint32(0), &counts); err != nil {
		t.Error(err)
	}
	return counts[0], counts[1]
}

// recordReader is what readers of both kinds have in common.
type recordReader interface {
	InPlace() iter.Seq2[*sent, error]
	All() iter.Seq2[sent, error]
	Read() (sent, error)
	Tail() []byte
	SetDeadline(time.Time)
	SetDebug(bool) error
	Close() error
}

// eachChannel runs a test with readers of both kinds.
func eachChannel(t *testing.T, size uint32, test func(*testing.T, channel, recordReader)) {
	t.Run("ring", func(t *testing.T) {
		c := newChannel(t, ebpf.RingBuf, size, 0)
		r, err := NewRingReader[sent](c.ring())
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		test(t, c, r)
	})
	t.Run("perf", func(t *testing.T) {
		c := newChannel(t, ebpf.PerfEventArray, size, 0)
		r, err := NewPerfReader[sent](c.perf(), int(size))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		test(t, c, r)
	})
}

// past is a deadline with which readers do not wait.
var past = time.Unix(1, 0)

// check compares a record with what was sent.
func (s *sent) check(t *testing.T, seq uint64, tail []byte) {
	t.Helper()
	// The kernel pads those of perf buffers.
	if s.Seq != seq || s.Fill != [2]uint64{^seq, ^seq} || len(tail) < tailed || len(tail) > tailed+7 || *(*uint64)(unsafe.Pointer(&tail[0])) != ^seq {
		t.Fatalf("record is %+v and %x, want number %d", *s, tail, seq)
	}
}

// All ways of reading give the same records, many times around.
func TestWaysOfReading(t *testing.T) {
	eachChannel(t, uint32(os.Getpagesize()), func(t *testing.T, c channel, r recordReader) {
		r.SetDeadline(past)
		var seq uint64
		for round := range 400 {
			c.run(t, uint32(1+round%40))
			last, refused := c.counted(t)
			if refused != 0 {
				t.Fatalf("%d records were not sent", refused)
			}
			switch round % 4 {
			case 0:
				for s, err := range r.InPlace() {
					if err != nil {
						t.Fatal(err)
					}
					seq++
					s.check(t, seq, r.Tail())
				}
			case 1:
				for s, err := range r.All() {
					if err != nil {
						t.Fatal(err)
					}
					seq++
					s.check(t, seq, r.Tail())
				}
			case 2:
				for seq < last {
					s, err := r.Read()
					if err != nil {
						t.Fatal(err)
					}
					seq++
					s.check(t, seq, r.Tail())
				}
				if _, err := r.Read(); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("with nothing to read: %v", err)
				}
			case 3:
				// The place of a record is given back however its body ends.
				for seq < last {
					func() {
						defer func() { _ = recover() }()
						for s, err := range r.InPlace() {
							if err != nil {
								t.Error(err)
								return
							}
							seq++
							s.check(t, seq, r.Tail())
							if seq%2 == 0 {
								break
							}
							panic("in the body")
						}
					}()
				}
			}
			if seq != last {
				t.Fatalf("round %d: %d records came, of %d", round, seq, last)
			}
		}
	})
}

// No way of reading allocates memory for a record.
func TestRecordsDoNotAllocate(t *testing.T) {
	eachChannel(t, 1<<16, func(t *testing.T, c channel, r recordReader) {
		r.SetDeadline(past)
		var sum uint64
		for name, read := range map[string]func(){
			"InPlace": func() {
				for s := range r.InPlace() {
					sum += s.Seq + uint64(len(r.Tail()))
				}
			},
			"All": func() {
				for s := range r.All() {
					sum += s.Seq + uint64(len(r.Tail()))
				}
			},
			"Read": func() {
				for s, err := r.Read(); err == nil; s, err = r.Read() {
					sum += s.Seq + uint64(len(r.Tail()))
				}
			},
		} {
			// Of a range, and of the error in the end.
			allocations := func(records uint32) float64 {
				return testing.AllocsPerRun(10, func() { c.run(t, records); read() })
			}
			if few, many := allocations(1), allocations(500); many > few+5 {
				t.Errorf("%s: %v allocations for 1 record, %v for 500", name, few, many)
			}
		}
		if _, refused := c.counted(t); refused != 0 || sum == 0 {
			t.Errorf("%d records were refused", refused)
		}
	})
}

// Records of programs at full speed come, or are counted as lost.
func TestNothingLostInSilence(t *testing.T) {
	eachChannel(t, 1<<16, func(t *testing.T, c channel, r recordReader) {
		const burst = 10_000
		bursts := kerneltest.Rounds(30)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range bursts {
				c.run(t, burst)
			}
			r.SetDeadline(past)
		}()
		var came, lost, last uint64
		take := func() {
			for s, err := range r.InPlace() {
				var l *LostRecordsError
				if errors.As(err, &l) {
					lost += l.Count
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if s.Seq <= last || s.Fill != [2]uint64{^s.Seq, ^s.Seq} {
					t.Errorf("%+v after %d", *s, last)
					return
				}
				came, last = came+1, s.Seq
			}
		}
		take()
		<-done
		// The kernel says what a perf buffer has lost before the next record.
		c.run(t, 1)
		take()
		tried, refused := c.counted(t)
		if c.events.Type() == ebpf.RingBuf {
			lost = refused
		}
		// The kernel ends a run that a signal interrupts, after the program, and it is made again.
		if tried < uint64(bursts*burst+1) || came+lost != tried || lost != refused {
			t.Errorf("%d records came and %d were lost, of %d, of which %d were refused", came, lost, tried, refused)
		}
		t.Logf("%d of %d came", came, tried)
	})
}

// A reader that waits is woken for every record, whenever it begins to wait.
func TestWakeUps(t *testing.T) {
	eachChannel(t, uint32(os.Getpagesize()), func(t *testing.T, c channel, r recordReader) {
		const rounds = 300
		got := make(chan uint64)
		go func() {
			defer close(got)
			for s, err := range r.InPlace() {
				if err != nil {
					t.Error(err)
					return
				}
				got <- s.Seq
			}
		}()
		random := rand.New(rand.NewPCG(1, 2))
		for seq := uint64(1); seq <= rounds; {
			n := 1 + random.Uint32N(3)
			for range random.IntN(2000) {
			}
			c.run(t, n)
			var sum uint64
			for i := range uint64(n) {
				select {
				case s := <-got:
					// Those of several CPUs have no order.
					sum += s - seq - i
				case <-time.After(20 * time.Second):
					t.Fatalf("no record %d", seq+i)
				}
			}
			if seq += uint64(n); sum != 0 {
				t.Fatalf("other records than those before %d", seq)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if _, more := <-got; more {
			t.Error("a record after Close")
		}
	})
}

// BPF_RB_NO_WAKEUP leaves it to the reader to look.
func TestNoWakeUp(t *testing.T) {
	c := newChannel(t, ebpf.RingBuf, uint32(os.Getpagesize()), 1)
	r, err := NewRingReader[sent](c.ring())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := make(chan error)
	go func() {
		_, err := r.Read()
		got <- err
	}()
	time.Sleep(20 * time.Millisecond)
	c.run(t, 3)
	select {
	case <-got:
		t.Error("woken in spite of BPF_RB_NO_WAKEUP")
	case <-time.After(50 * time.Millisecond):
	}
	// A deadline shows what is there before it ends reading.
	r.SetDeadline(time.Now())
	if err := <-got; err != nil {
		t.Error(err)
	}
	n := 0
	for _, err := range r.InPlace() {
		if err != nil {
			t.Error(err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d records more, want 2", n)
	}
}

func TestRecordDeadlines(t *testing.T) {
	eachChannel(t, uint32(os.Getpagesize()), func(t *testing.T, c channel, r recordReader) {
		wait := func(set func()) {
			t.Helper()
			r.SetDeadline(time.Time{})
			done := make(chan error)
			go func() {
				_, err := r.Read()
				done <- err
			}()
			set()
			select {
			case err := <-done:
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("at the deadline: %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("the deadline ended nothing")
			}
		}
		wait(func() { r.SetDeadline(time.Now().Add(10 * time.Millisecond)) })
		// One that waits already, with another deadline.
		wait(func() {
			r.SetDeadline(time.Now().Add(time.Hour))
			time.Sleep(10 * time.Millisecond)
			r.SetDeadline(past)
		})
		for range r.All() {
			t.Error("a record")
		}
		r.SetDeadline(time.Time{})
		c.run(t, 1)
		if s, err := r.Read(); err != nil || s.Seq != 1 {
			t.Errorf("without a deadline again: %+v, %v", s, err)
		}
		// A context ends a range as it ends the reader.
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		defer context.AfterFunc(ctx, func() { r.Close() })()
		for _, err := range r.InPlace() {
			t.Errorf("after the context: %v", err)
		}
	})
}

// Close in the body, and while another goroutine's body has a record: what it has stays.
func TestCloseKeepsRecord(t *testing.T) {
	eachChannel(t, uint32(os.Getpagesize()), func(t *testing.T, c channel, r recordReader) {
		c.run(t, 3)
		n := 0
		for s, err := range r.InPlace() {
			if err != nil {
				t.Fatal(err)
			}
			n++
			closed := make(chan error)
			go func() { closed <- r.Close() }()
			if err := <-closed; err != nil {
				t.Error(err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if _, err := r.Read(); !errors.Is(err, os.ErrClosed) {
				t.Errorf("Read after Close: %v", err)
			}
			s.check(t, 1, r.Tail())
		}
		if n != 1 {
			t.Errorf("%d bodies, and Close came in the first", n)
		}
		if _, err := r.Read(); !errors.Is(err, os.ErrClosed) || errors.Is(err, ErrClosed) {
			t.Errorf("Read after Close: %v", err)
		}
		for range r.All() {
			t.Error("a record after Close")
		}
	})
}

// Reading in the body of a range over the same reader is an error, not two readers of a place.
func TestReadInsideRecord(t *testing.T) {
	eachChannel(t, uint32(os.Getpagesize()), func(t *testing.T, c channel, r recordReader) {
		c.run(t, 1)
		r.SetDeadline(past)
		for s, err := range r.InPlace() {
			if err != nil {
				t.Fatal(err)
			}
			_, err := r.Read()
			kerneltest.WantError(t, err, "read map events: the reader is in use")
			for _, err := range r.All() {
				kerneltest.WantError(t, err, "read map events: the reader is in use")
			}
			s.check(t, 1, r.Tail())
		}
	})
}

func TestShortRecords(t *testing.T) {
	c := newChannel(t, ebpf.RingBuf, uint32(os.Getpagesize()), 0)
	r, err := NewRingReader[[40]byte](c.ring())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.SetDeadline(past)
	const text = "read map events: record is shorter than its type: 32 bytes, [40]uint8 has 40"
	c.run(t, 3)
	n := 0
	for s, err := range r.InPlace() {
		if n++; s != nil || !errors.Is(err, ErrRecordSize) || err.Error() != text {
			t.Errorf("%v, %v", s, err)
		}
	}
	c.run(t, 3)
	for _, err := range r.All() {
		if n++; !errors.Is(err, ErrRecordSize) || err.Error() != text {
			t.Error(err)
		}
	}
	if n != 6 {
		t.Errorf("%d errors, want 6", n)
	}
}

// In debug mode a pointer that stays faults.
func TestKeptRecordFaults(t *testing.T) {
	eachChannel(t, uint32(os.Getpagesize()), func(t *testing.T, c channel, r recordReader) {
		if err := r.SetDebug(true); err != nil {
			t.Fatal(err)
		}
		r.SetDeadline(past)
		c.run(t, 20)
		var kept []*sent
		for s, err := range r.InPlace() {
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, s)
			s.check(t, uint64(len(kept)), r.Tail())
			if len(kept) > 1 && !faults(kept[len(kept)-2]) {
				t.Fatalf("record %d can be read in the next body", len(kept)-1)
			}
		}
		if len(kept) != 20 {
			t.Fatalf("%d records", len(kept))
		}
		for i, s := range kept {
			if !faults(s) {
				t.Errorf("record %d can be read after its body", i+1)
			}
		}
		if err := r.SetDebug(false); err != nil {
			t.Fatal(err)
		}
		c.run(t, 1)
		for s, err := range r.InPlace() {
			if err != nil {
				t.Fatal(err)
			}
			s.check(t, 21, r.Tail())
		}
	})
}

// faults reports whether a record cannot be read.
func faults(s *sent) (fault bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { fault = recover() != nil }()
	return s.Seq == 0 && false
}

// One reader has several ring buffers, and one wake-up.
func TestManyRings(t *testing.T) {
	var all []channel
	var rings []*RingBuffer
	for range 3 {
		c := newChannel(t, ebpf.RingBuf, 1<<16, 0)
		all, rings = append(all, c), append(rings, c.ring())
	}
	r, err := NewRingReader[sent](rings[0], rings[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() {
			for range 20 {
				c.run(t, 2000)
			}
		})
	}
	go func() {
		wg.Wait()
		r.SetDeadline(past)
	}()
	came := make(map[*UntypedMap]uint64)
	last := make(map[*UntypedMap]uint64)
	for s, err := range r.InPlace() {
		if err != nil {
			t.Fatal(err)
		}
		m := r.Map()
		if s.Seq <= last[m] {
			t.Fatalf("record %d after %d", s.Seq, last[m])
		}
		came[m], last[m] = came[m]+1, s.Seq
	}
	for i, c := range all {
		if tried, refused := c.counted(t); came[c.events]+refused != tried || came[c.events] == 0 {
			t.Errorf("ring buffer %d: %d records came, and %d of %d were refused", i, came[c.events], refused, tried)
		}
	}
	// The first skeleton that is closed ends it.
	if err := all[1].o.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.Read(); !errors.Is(err, ErrClosed) || !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read after Close of a skeleton: %v", err)
	}
}

func TestRingsThatAreRefused(t *testing.T) {
	c := newChannel(t, ebpf.RingBuf, uint32(os.Getpagesize()), 0)
	if _, err := NewRingReader[*int](c.ring()); err == nil || !strings.Contains(err.Error(), "Go pointers") {
		t.Errorf("a reader of pointers: %v", err)
	}
	_, err := NewRingReader[sent]((*RingBuffer)(unsafe.Pointer(c.o.maps[1])))
	kerneltest.WantError(t, err, "read map counts: it was made as a map of type Array")
	p := newChannel(t, ebpf.PerfEventArray, 0, 0)
	_, err = NewPerfReader[sent](p.perf(), 0)
	kerneltest.WantError(t, err, "give it a page or more")

	// The flag is one of Linux 6.19.
	o := newTestObject(t, []*ebpf.MapSpec{{Name: "events", Type: ebpf.RingBuf, MaxEntries: uint32(os.Getpagesize()), Flags: 1 << 19}})
	defer o.Close()
	if err := o.Load(); err != nil {
		t.Skip("needs a kernel with ring buffers that overwrite records (6.19)")
	}
	_, err = NewRingReader[sent]((*RingBuffer)(unsafe.Pointer(o.maps[0])))
	kerneltest.WantError(t, err, "BPF_F_RB_OVERWRITE")
}
