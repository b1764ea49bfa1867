// Package guides_test has the code that the guides show, and runs it.
package guides_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/bazelbuild/rules_go/go/runfiles"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
	"github.com/rules-bpf/rules_bpf/tests/load/progs/resized"
	"github.com/rules-bpf/rules_bpf/tests/maps/progs/commands"
	"github.com/rules-bpf/rules_bpf/tests/maps/progs/filters"
	"github.com/rules-bpf/rules_bpf/tests/maps/progs/kinds"
	"github.com/rules-bpf/rules_bpf/tests/maps/progs/tasks"
	"github.com/rules-bpf/rules_bpf/tests/normalise/progs/typedmaps"
)

func hash(skel *typedmaps.Skeleton) error {
	key := typedmaps.Key{Id: 42, Port: 80}
	if err := skel.Maps.Hash.Put(key, typedmaps.Stats{Packets: 3}); err != nil {
		return err
	}
	stats, err := skel.Maps.Hash.Lookup(key)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil // the map does not hold the key
	}
	if err != nil {
		return err
	}
	fmt.Println(stats.Packets)
	return skel.Maps.Hash.Delete(key)
}

func iterate(skel *typedmaps.Skeleton) error {
	for e, err := range skel.Maps.Hash.All() {
		if err != nil {
			return err
		}
		fmt.Println(e.Key.Id, e.Value.Packets)
	}
	return nil
}

func batches(skel *typedmaps.Skeleton) error {
	keys := []typedmaps.Key{{Id: 1}, {Id: 2}, {Id: 3}}
	if n, err := skeleton.PutBatch(skel.Maps.Hash, keys, make([]typedmaps.Stats, len(keys))); err != nil {
		return fmt.Errorf("after %d of %d: %w", n, len(keys), err)
	}
	for batch, err := range skeleton.LookupAndDeleteBatches(skel.Maps.Hash, 1000) {
		if errors.Is(err, ebpf.ErrNotSupported) {
			return iterate(skel) // this kernel, or this kind of map, has no batches
		}
		if err != nil {
			return err
		}
		for i, key := range batch.Keys {
			fmt.Println(key.Id, batch.Values[i].Packets)
		}
	}
	return nil
}

func perCPU(skel *typedmaps.Skeleton) error {
	values, err := skel.Maps.CpuArray.Lookup(1)
	if err != nil {
		return err
	}
	var packets uint64
	for _, v := range values { // one for every possible CPU
		packets += v.Packets
	}
	fmt.Println(packets)
	return nil
}

func trie(skel *typedmaps.Skeleton) error {
	// struct prefix { __u32 bits; __u8 address[4]; }
	prefix := typedmaps.Prefix{Bits: 8, Address: [4]uint8{10}}
	if err := skel.Maps.Trie.Put(prefix, typedmaps.Stats{}); err != nil {
		return err
	}
	// The value of 10.0.0.0/8, as it is the longest prefix of the address.
	_, err := skel.Maps.Trie.Lookup(typedmaps.Prefix{Bits: 32, Address: [4]uint8{10, 1, 2, 3}})
	return err
}

func queue(skel *typedmaps.Skeleton) error {
	if err := skel.Maps.Queue.Push(typedmaps.Stats{Packets: 1}); err != nil {
		return err
	}
	oldest, err := skel.Maps.Queue.Pop()
	if err != nil {
		return err
	}
	fmt.Println(oldest.Packets)
	return nil
}

func innerMaps(skel *typedmaps.Skeleton, key typedmaps.Key) error {
	inner, err := skel.Maps.OfMaps.NewInner() // *skeleton.Map[uint32, typedmaps.Stats]
	if err != nil {
		return err
	}
	defer inner.Map().Close()
	if err := skel.Maps.OfMaps.Put(key, inner.Map()); err != nil {
		return err
	}
	m, err := skel.Maps.OfMaps.Lookup(key)
	if err != nil {
		return err
	}
	defer m.Map().Close()
	return m.Put(0, typedmaps.Stats{Packets: 1})
}

func storage(skel *tasks.Skeleton) error {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return skel.Maps.OfTasks.Put(fd, tasks.Stats{Packets: 1})
}

func bloom(skel *filters.Skeleton) error {
	if err := skel.Maps.Bloom.Add(filters.Name{Kind: 1, Id: 10}); err != nil {
		return err
	}
	may, err := skel.Maps.Bloom.MayContain(filters.Name{Kind: 1, Id: 11})
	if err != nil {
		return err
	}
	fmt.Println(may)
	return nil
}

func tailCalls(skel *kinds.Skeleton) error {
	return skel.Maps.TailCalls.Put(3, skel.Progs.Callee.Program())
}

func stack(skel *kinds.Skeleton, id uint32) error {
	addresses, err := skel.Maps.Stacks.Lookup(id) // []uint64
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	fmt.Println(len(addresses))
	return err
}

func sockets(skel *kinds.Skeleton, fd int) error {
	if err := skel.Maps.Sockets.Put(1, fd); err != nil {
		return err
	}
	cookie, err := skel.Maps.Sockets.Lookup(1) // the socket's cookie, not fd
	if err != nil {
		return err
	}
	fmt.Println(cookie)
	return nil
}

func records(skel *typedmaps.Skeleton, deadline time.Time) error {
	reader, err := skeleton.NewRingReader[typedmaps.Event](skel.Maps.Events)
	if err != nil {
		return err
	}
	defer reader.Close()
	reader.SetDeadline(deadline)
	for event, err := range reader.All() {
		if err != nil {
			return err
		}
		fmt.Println(event.Sequence, skeleton.String(event.Text[:]))
	}
	return nil
}

func inPlace(skel *typedmaps.Skeleton) error {
	reader, err := skeleton.NewRingReader[typedmaps.Event](skel.Maps.Events)
	if err != nil {
		return err
	}
	defer reader.Close()
	reader.SetDeadline(time.Now())
	var total uint64
	for event, err := range reader.InPlace() {
		if err != nil {
			return err
		}
		total += event.Sequence
	}
	fmt.Println(total)
	return nil
}

func ringMux(ctx context.Context, skel *typedmaps.Skeleton) error {
	mux, err := skeleton.NewRingMux()
	if err != nil {
		return err
	}
	defer mux.Close()
	err = skeleton.AddRing(mux, skel.Maps.Events, func(event *typedmaps.Event, tail []byte) error {
		fmt.Println(event.Sequence) // in place, as in the body of InPlace
		return nil
	})
	if err != nil {
		return err
	}
	return mux.Run(ctx)
}

func userRing(skel *commands.Skeleton, deadline time.Time, text string) error {
	writer, err := skeleton.NewUserRingWriter[commands.Command](skel.Maps.Commands)
	if err != nil {
		return err
	}
	defer writer.Close()
	if err := writer.Write(commands.Command{Id: 1, Value: 2}); err != nil {
		return err // skeleton.ErrRingFull, for example
	}
	writer.SetDeadline(deadline)
	record, err := writer.ReserveBlocking(len(text))
	if err != nil {
		return err
	}
	*record.Value = commands.Command{Id: 3, Value: 4}
	copy(record.Tail, text)
	return record.Submit() // or Discard
}

func resize() error {
	skel, err := kinds.Open()
	if err != nil {
		return err
	}
	defer skel.Close()
	if err := skel.Maps.Plain.SetMaxEntries(1 << 16); err != nil {
		return err
	}
	return skel.Load()
}

func pin(dir string) error {
	skel, err := kinds.Open()
	if err != nil {
		return err
	}
	defer skel.Close()
	if err := skel.Maps.Plain.UntypedMap.SetPinning(ebpf.PinByName); err != nil {
		return err
	}
	return skel.LoadWithOptions(skeleton.LoadOptions{PinRoot: dir})
}

func reuse(other *kinds.Skeleton) error {
	skel, err := kinds.Open()
	if err != nil {
		return err
	}
	defer skel.Close()
	if err := skel.Maps.Plain.UntypedMap.Reuse(other.Maps.Plain.Map()); err != nil {
		return err
	}
	return skel.Load()
}

func resizeArray() error {
	skel, err := resized.Open()
	if err != nil {
		return err
	}
	defer skel.Close()
	values, err := skel.ResizeDataValues(runtime.NumCPU()) // []uint64, with what the object has first
	if err != nil {
		return err
	}
	if err := skel.Load(); err != nil {
		return err
	}
	if len(values) != runtime.NumCPU() || values[0] != 7 {
		return fmt.Errorf("%d values, the first is %d", len(values), values[0])
	}
	return nil
}

func unpinAll() error {
	skel, err := kinds.Open()
	if err != nil {
		return err
	}
	defer skel.Close()
	for m := range skel.AllMaps() {
		if err := m.SetPinning(ebpf.PinNone); err != nil { // whatever the declaration says
			return err
		}
	}
	return skel.Load()
}

func dump(skel *resized.Skeleton) error {
	for v := range skel.AllVariables() {
		fmt.Printf("%s %s: %x\n", v.Section().Name(), v.Name(), v.Bytes())
	}
	return nil
}

func increase(skel *resized.Skeleton) error {
	found, ok := skel.FindVariable("sum")
	if !ok {
		return errors.New("no such variable")
	}
	sum, err := skeleton.VarOf[uint64](found)
	if err != nil {
		return err
	}
	n, err := sum.Get()
	if err != nil {
		return err
	}
	return sum.Set(n + 1)
}

// loaded returns a loaded skeleton, which is closed when t ends.
func loaded[S interface {
	Load() error
	Close() error
}](t *testing.T, open func() (S, error)) S {
	t.Helper()
	skel, err := open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { skel.Close() })
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	return skel
}

// The code of the guide works.
func TestMaps(t *testing.T) {
	dir := bpftest.PinDir(t)
	containers, special := loaded(t, typedmaps.Open), loaded(t, kinds.Open)
	udp, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(udp)
	if err := unix.Connect(udp, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Skipf("needs the address 127.0.0.1: %v", err)
	}
	for name, err := range map[string]error{
		"hash": hash(containers), "iterate": iterate(containers), "batches": batches(containers),
		"per CPU": perCPU(containers), "trie": trie(containers), "queue": queue(containers),
		"inner maps": innerMaps(containers, typedmaps.Key{Id: 1}), "records": records(containers, time.Now().Add(time.Millisecond)), "in place": inPlace(containers),
		"storage": storage(loaded(t, tasks.Open)), "bloom": bloom(loaded(t, filters.Open)), "tail calls": tailCalls(special),
		"stack": stack(special, 0), "sockets": sockets(special, udp), "commands": userRing(loaded(t, commands.Open), time.Now().Add(time.Second), "more"),
		"resize": resize(), "pin": pin(dir), "reuse": reuse(special), "resize array": resizeArray(),
		"all maps": unpinAll(), "all variables": dump(loaded(t, resized.Open)),
		"variable": increase(loaded(t, resized.Open)),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ringMux(ctx, containers); !errors.Is(err, context.Canceled) {
		t.Errorf("mux: %v", err)
	}
}

// What the guide shows is in this file, line by line.
func TestMapsGuide(t *testing.T) {
	guide, source := read(t, "MAPS_GUIDE", "../maps.md"), read(t, "MAPS_SOURCE", "maps_test.go")
	blocks := strings.Split(guide, "```go\n")[1:]
	if len(blocks) == 0 {
		t.Fatal("the guide shows no code")
	}
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		if !strings.Contains(flat(source), flat(block)) {
			t.Errorf("not in maps_test.go:\n%s", block)
		}
	}
}

// flat is text without indentation.
func flat(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return "\n" + strings.Join(lines, "\n") + "\n"
}

// read reads a file that Bazel names in the environment, or else go test has there.
func read(t *testing.T, variable, name string) string {
	t.Helper()
	if file := os.Getenv(variable); file != "" {
		path, err := runfiles.Rlocation(file)
		if err != nil {
			t.Fatal(err)
		}
		name = path
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
