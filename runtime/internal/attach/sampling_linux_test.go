package attach

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/runtime/internal/sys"
)

// loadSampler loads a program that counts in the map how often it runs for each
// thread: the keys are what bpf_get_current_pid_tgid returns.
func loadSampler(t *testing.T) *testPrograms {
	t.Helper()
	insns := asm.Instructions{
		asm.FnGetCurrentPidTgid.Call(),
		asm.StoreMem(asm.RFP, -8, asm.R0, asm.DWord),
		asm.LoadMapPtr(asm.R1, 0).WithReference("samples"),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -8),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "first"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Ja.Label("end"),
		asm.Mov.Imm(asm.R1, 1).WithSymbol("first"),
		asm.StoreMem(asm.RFP, -16, asm.R1, asm.DWord),
		asm.LoadMapPtr(asm.R1, 0).WithReference("samples"),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -8),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, -16),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnMapUpdateElem.Call(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("end"),
		asm.Return(),
	}
	return load(t, &ebpf.MapSpec{Name: "samples", Type: ebpf.Hash, KeySize: 8, ValueSize: 8, MaxEntries: 4096},
		&ebpf.ProgramSpec{Name: "sampler", Type: ebpf.PerfEvent, SectionName: "perf_event", License: "GPL", Instructions: insns})
}

// samples returns how often the program ran for each thread of this process, and for
// other processes.
func samples(t *testing.T, m *ebpf.Map) (threads map[int]uint64, others map[int]uint64) {
	t.Helper()
	threads, others = make(map[int]uint64), make(map[int]uint64)
	var key, n uint64
	it := m.Iterate()
	for it.Next(&key, &n) {
		if pid := int(key >> 32); pid != os.Getpid() {
			others[pid] += n
			continue
		}
		threads[int(uint32(key))] = n
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	return threads, others
}

// testThread is a thread of its own.
type testThread struct {
	tid  int
	work chan func()
}

// startThread returns a thread that ends with the test.
func startThread(t *testing.T) testThread {
	th := testThread{work: make(chan func())}
	t.Cleanup(func() { close(th.work) })
	tid := make(chan int)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the function
		tid <- unix.Gettid()
		for f := range th.work {
			f()
		}
	}()
	th.tid = <-tid
	return th
}

// spin makes the thread use a CPU for a while.
func (th testThread) spin() {
	done := make(chan struct{})
	th.work <- func() {
		defer close(done)
		var start, now unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &start)
		for now.Nano() < start.Nano()+(200*time.Millisecond).Nanoseconds() {
			_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now)
		}
	}
	<-done
}

// A process is sampled with all its threads, those that come later too.
func TestSamplingThreads(t *testing.T) {
	o := loadSampler(t)
	p, m := o.progs[0], o.m
	var before []testThread
	for range 3 {
		th := startThread(t)
		if th.tid != os.Getpid() {
			before = append(before, th)
		}
	}
	known, err := newThreads(os.Getpid(), nil)
	if err != nil {
		t.Fatal(err)
	}
	fds := kerneltest.FDs(t)
	if _, err := o.add(Sampling(p, 1000, os.Getpid(), 0)); err != nil {
		t.Fatal(err)
	}
	// The runtime may have threads that wait for work.
	later := startThread(t)
	for range 100 {
		if !slices.Contains(known, later.tid) {
			break
		}
		later = startThread(t)
	}
	check := func(what string, th testThread) {
		t.Helper()
		th.spin()
		threads, _ := samples(t, m)
		// 200 samples, or 400 of a thread with two events. A machine that is busy, and an
		// emulated one, has fewer: the timer is late.
		if n := threads[th.tid]; n < 5 || n > 300 {
			t.Errorf("%s: %d samples in 0.2 s at 1000 Hz", what, n)
		}
	}
	check("thread that was there", before[0])
	check("thread started later", later)

	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if _, others := samples(t, m); !sys.OlderThan("5.13") && len(others) != 0 {
		t.Errorf("samples of other processes: %v, this one started %d", others, cmd.Process.Pid)
	}

	o.detach(t)
	if got := kerneltest.FDs(t); !maps.Equal(got, fds) {
		t.Errorf("descriptors before: %v, after it is detached: %v", fds, got)
	}
	then, _ := samples(t, m)
	later.spin()
	if now, _ := samples(t, m); now[later.tid] != then[later.tid] {
		t.Errorf("%d samples after it is detached", now[later.tid]-then[later.tid])
	}
}

// A process that never stops starting threads is sampled all the same.
func TestSamplingManyThreads(t *testing.T) {
	o := loadSampler(t)
	p, m := o.progs[0], o.m
	busy := startThread(t)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			done := make(chan struct{})
			go func() {
				runtime.LockOSThread()
				close(done)
			}()
			<-done
		}
	}()
	defer func() {
		close(stop)
		<-stopped
	}()
	if _, err := o.add(Sampling(p, 1000, os.Getpid(), 0)); err != nil {
		t.Fatal(err)
	}
	busy.spin()
	// It shares its CPU with those that are started, and an emulated one is slow.
	if threads, _ := samples(t, m); threads[busy.tid] < 5 || threads[busy.tid] > 300 {
		t.Errorf("%d samples in 0.2 s at 1000 Hz", threads[busy.tid])
	}
}

func TestSamplingNoProcess(t *testing.T) {
	p := loadSampler(t).progs[0]
	// A process that has ended, and that nobody has waited for.
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for name, pid := range map[string]int{"ended": cmd.Process.Pid, "none": 1 << 30, "negative": -5} {
		fds := kerneltest.FDs(t)
		_, err := Sampling(p, 1000, pid, 0)
		if !errors.Is(err, unix.ESRCH) {
			t.Errorf("%s: %v, want %v", name, err, unix.ESRCH)
		}
		if got := kerneltest.FDs(t); !maps.Equal(got, fds) {
			t.Errorf("%s: descriptors before: %v, after: %v", name, fds, got)
		}
	}
}

// An event that is to stay off runs the program when its owner turns it on.
func TestEventThatStaysOff(t *testing.T) {
	o := loadSampler(t)
	attr := unix.PerfEventAttr{
		Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_CPU_CLOCK, Size: unix.PERF_ATTR_SIZE_VER1,
		Sample: 1000, Bits: unix.PerfBitDisabled | unix.PerfBitFreq,
	}
	fd, err := unix.PerfEventOpen(&attr, -1, 0, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		t.Skipf("needs the right to open perf events: %v", err)
	}
	defer unix.Close(fd)
	l, err := PerfEvent(o.progs[0], fd, 0, Default, true)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	runs := func() (n uint64) {
		threads, others := samples(t, o.m)
		for _, m := range []map[int]uint64{threads, others} {
			for _, times := range m {
				n += times
			}
		}
		return n
	}
	time.Sleep(20 * time.Millisecond)
	if n := runs(); n != 0 {
		t.Errorf("the program has run %d times", n)
	}
	if err := unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_ENABLE, 0); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); runs() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the program does not run")
		}
	}
}
