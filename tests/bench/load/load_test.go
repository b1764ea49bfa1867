// Package load_test measures opening and loading an object: through its skeleton, with
// libbpf from C, and with cilium/ebpf.
//
//	./bazelw run -c opt //tests/bench/load:load_test -- -test.bench=. -test.benchtime=15x
//
// The three take turns, each in a process of its own that loads the object several times:
// the first load is also that of what the process keeps. The later ones are told from their
// median. Small objects are loaded more often: in the first milliseconds of a Go process,
// the monitor of the scheduler wakes every 20 microseconds or so, whatever the process does.
// A process is bound to one CPU when its CPU time is measured, that in user and kernel mode
// together, so that it does not matter what else the machine does; how much time passes is
// measured on all CPUs, since programs load in parallel. What is printed are ratios of the skeleton's to the others'
// times, of the minima and of the medians.
package load_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/bazelbuild/rules_go/go/runfiles"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
	"github.com/rules-bpf/rules_bpf/internal/libbpf"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// scene is a state of the machine in which objects are loaded.
type scene struct {
	name string
	// modules is how many of them have BTF.
	modules int
	// unmappable says that the kernel's BTF cannot be mapped.
	unmappable bool
}

var (
	plain      = scene{name: "mapped"}
	unmappable = scene{name: "read", unmappable: true}
	crowded    = scene{name: "150 modules", modules: 150}
)

var cases = []struct {
	object string
	// loads is how many times a process loads the object.
	loads  int
	scenes []scene
}{
	{"small", 100, []scene{plain, crowded}},
	{"core", 5, []scene{plain, unmappable, crowded}},
	{"forty", 5, []scene{plain, unmappable, crowded}},
	{"large", 5, []scene{plain, crowded}},
	{"bigbss", 5, []scene{plain}},
}

// The loaders, in the order of the columns.
const (
	ours = iota
	c
	cilium
	loaders
)

// sample is what one process has measured.
type sample struct {
	first, later libbpf.Spent
}

// BenchmarkLoad measures all objects in all scenes, and prints the ratios as a table.
func BenchmarkLoad(b *testing.B) {
	bpftest.NeedsBPF(b)
	reference := openReference(b)
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "object\tloads\t\tfirst: CPU/libbpf\t/cilium\tpassed/libbpf\tlater: CPU/libbpf\t/cilium\tpassed/libbpf\tallocations\tpeak/libbpf\tBTF_LOAD\tlibbpf's\t")
	for _, tc := range cases {
		for _, s := range tc.scenes {
			// Of a first, shorter run too, and then again.
			var line string
			b.Run(tc.object+"/"+s.name, func(b *testing.B) {
				m := measurement{object: tc.object, loads: tc.loads, scene: s, reference: reference}
				bound, free := m.rounds(b, true), m.rounds(b, false)
				row := append(m.row(bound, free), m.mallocs(b), m.peak(b), m.btfLoads(b, ours), m.btfLoads(b, c))
				line = fmt.Sprintf("%s\t%d\t%s\t%s\t\n", tc.object, tc.loads, s.name, strings.Join(row, "\t"))
				b.ReportMetric(0, "ns/op")
			})
			fmt.Fprint(w, line)
		}
	}
	w.Flush()
	// Not b.Log, which says nothing of a benchmark that has others below it.
	fmt.Printf("libbpf %s at -O2, cilium/ebpf %s, %s, Linux %s; of the minima, of the medians\n%s",
		reference.Version, ciliumVersion(b), runtime.Version(),
		kerneltest.Release(b), table.String())
}

// ciliumVersion is that of go.mod.
func ciliumVersion(b *testing.B) string {
	b.Helper()
	path, err := runfiles.Rlocation(os.Getenv("GO_MOD"))
	if err != nil {
		b.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "github.com/cilium/ebpf ")
	version, _, _ := strings.Cut(rest, "\n")
	return version
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

// measurement is that of an object in a scene.
type measurement struct {
	object    string
	loads     int
	scene     scene
	reference *libbpf.Reference
}

func (m *measurement) file(b *testing.B) string {
	b.Helper()
	path, err := runfiles.Rlocation(os.Getenv("OBJECT_" + strings.ToUpper(m.object)))
	if err != nil {
		b.Fatal(err)
	}
	return path
}

// rounds runs the loaders by turns.
func (m *measurement) rounds(b *testing.B, bound bool) (samples [loaders][]sample) {
	object := m.file(b)
	done := make(chan struct{})
	// The scene is a thread's, which ends with it. Processes begin in the scene of the
	// thread that starts them.
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := m.scene.enter(bound); err != nil {
			b.Error(err)
			return
		}
		for range b.N {
			for loader := range loaders {
				s, err := m.sample(b, loader, object)
				if err != nil {
					b.Errorf("%s: %v", m.object, err)
					return
				}
				samples[loader] = append(samples[loader], s)
			}
		}
	}()
	<-done
	if b.Failed() {
		b.FailNow()
	}
	return samples
}

func (m *measurement) sample(b *testing.B, loader int, object string) (s sample, err error) {
	loads, _, err := m.run(b, loader, m.loads, object)
	if err != nil {
		return s, err
	}
	s.first = loads[0]
	rest := loads[1:]
	s.later.CPU = median(rest, func(s libbpf.Spent) time.Duration { return s.CPU })
	s.later.Wall = median(rest, func(s libbpf.Spent) time.Duration { return s.Wall })
	return s, nil
}

// run runs the process of a loader, and returns how long the loads took and the process's
// peak of memory.
func (m *measurement) run(b *testing.B, loader, count int, object string) ([]libbpf.Spent, int64, error) {
	b.Helper()
	out, err := output(m.command(b, loader, "times", count, object))
	if err != nil {
		return nil, 0, err
	}
	loads, peak, err := libbpf.ParseTimes(out)
	if err == nil && len(loads) != count {
		err = fmt.Errorf("%d times, want %d", len(loads), count)
	}
	return loads, peak, err
}

// mallocs returns the allocations of the first load of a skeleton and of the second.
func (m *measurement) mallocs(b *testing.B) string {
	b.Helper()
	out, err := output(m.command(b, ours, "mallocs", 2, m.file(b)))
	if err != nil {
		b.Fatal(err)
	}
	var first, second int
	if _, err := fmt.Sscan(out, &first, &second); err != nil {
		b.Fatalf("%q: %v", out, err)
	}
	return fmt.Sprintf("%d, %d", first, second)
}

// peak returns the memory that a process needs for one load, compared with libbpf's.
func (m *measurement) peak(b *testing.B) string {
	b.Helper()
	var peaks [2]int64
	for i, loader := range []int{ours, c} {
		var err error
		if _, peaks[i], err = m.run(b, loader, 1, m.file(b)); err != nil {
			b.Fatal(err)
		}
	}
	return fmt.Sprintf("%.2f", float64(peaks[0])/float64(peaks[1]))
}

func median[T any, N int64 | uint64 | time.Duration](all []T, of func(T) N) N {
	values := sorted(all, of)
	return values[len(values)/2]
}

func sorted[T any, N int64 | uint64 | time.Duration](all []T, of func(T) N) []N {
	var values []N
	for _, v := range all {
		values = append(values, of(v))
	}
	slices.Sort(values)
	return values
}

// row returns the cells of a line of the table.
func (m *measurement) row(bound, free [loaders][]sample) []string {
	firstCPU := func(s sample) time.Duration { return s.first.CPU }
	laterCPU := func(s sample) time.Duration { return s.later.CPU }
	return []string{
		ratio(bound[ours], bound[c], firstCPU),
		ratio(bound[ours], bound[cilium], firstCPU),
		ratio(free[ours], free[c], func(s sample) time.Duration { return s.first.Wall }),
		ratio(bound[ours], bound[c], laterCPU),
		ratio(bound[ours], bound[cilium], laterCPU),
		ratio(free[ours], free[c], func(s sample) time.Duration { return s.later.Wall }),
	}
}

// ratio is that of the minima, and that of the medians.
func ratio[N int64 | uint64 | time.Duration](a, b []sample, of func(sample) N) string {
	x, y := sorted(a, of), sorted(b, of)
	return fmt.Sprintf("%.2f, %.2f", float64(x[0])/float64(y[0]), float64(x[len(x)/2])/float64(y[len(y)/2]))
}

// command returns the command with which a loader loads an object so many times. What it
// measures is times, or for ours mallocs.
func (m *measurement) command(b *testing.B, loader int, what string, loads int, object string) *exec.Cmd {
	b.Helper()
	if loader == c {
		return m.reference.Time(loads, object)
	}
	child, err := runfiles.Rlocation(os.Getenv("CHILD"))
	if err != nil {
		b.Fatal(err)
	}
	return exec.Command(child, map[int]string{ours: "skeleton", cilium: "cilium"}[loader], what, strconv.Itoa(loads), m.object, object)
}

func output(cmd *exec.Cmd) (string, error) {
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return string(out), err
}

// enter puts the thread, and the processes that it starts, into the scene. Bound ones have
// one CPU.
func (s *scene) enter(bound bool) error {
	if bound {
		var cpus, one unix.CPUSet
		if err := unix.SchedGetaffinity(0, &cpus); err != nil {
			return err
		}
		for cpu := range 8 * len(cpus) * 8 {
			if cpus.IsSet(cpu) {
				one.Set(cpu)
				break
			}
		}
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			return err
		}
	}
	if s.modules > 0 {
		if err := addModules(s.modules); err != nil {
			return fmt.Errorf("modules: %w", err)
		}
	}
	if s.unmappable {
		return forbidMapping()
	}
	return nil
}
